#pragma once

#include <string>

// Pieces of standalone SVG pictures. Coordinates in pixels, y downwards.
namespace yoloquant::report {

std::string escape_xml(const std::string& text);

// `anchor`: "start", "middle" or "end". `more` are further attributes.
std::string svg_text(double x, double y, const std::string& anchor, const std::string& text,
                     const std::string& more = "");

// The opening tag with a white background; close it with "</svg>\n".
std::string svg_open(double width, double height, int font_size = 13);

// A logarithmic axis, upwards: `low` and `high` are rounded outwards to powers of ten.
class LogAxis {
 public:
  // Of positive numbers; [1e-6, 1] when there are none.
  LogAxis(double low, double high, double top, double bottom);

  double y(double value) const;  // values outside are put on the border
  bool covers(double value) const;
  // Lines and labels at the powers of ten, across [left, right].
  std::string grid(double left, double right) const;

 private:
  int low_;  // exponents
  int high_;
  double top_;
  double bottom_;
};

}  // namespace yoloquant::report

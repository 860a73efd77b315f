#include "report/svg.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace yoloquant::report {

std::string escape_xml(const std::string& text) {
  std::string escaped;
  for (const char c : text) {
    switch (c) {
      case '&':
        escaped += "&amp;";
        break;
      case '<':
        escaped += "&lt;";
        break;
      case '>':
        escaped += "&gt;";
        break;
      case '"':
        escaped += "&quot;";
        break;
      default:
        escaped += c;
    }
  }
  return escaped;
}

std::string svg_text(double x, double y, const std::string& anchor, const std::string& text,
                     const std::string& more) {
  return fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\"{}>{}</text>\n", x, y,
                     anchor, more.empty() ? "" : " " + more, escape_xml(text));
}

std::string svg_open(double width, double height, int font_size) {
  return fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0:.0f}\" height=\"{1:.0f}\" "
      "viewBox=\"0 0 {0:.0f} {1:.0f}\" font-family=\"sans-serif\" font-size=\"{2}\">\n"
      "<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n",
      width, height, font_size);
}

LogAxis::LogAxis(double low, double high, double top, double bottom) : top_(top), bottom_(bottom) {
  const bool usable = low > 0 && high >= low && std::isfinite(high);
  low_ = usable ? static_cast<int>(std::floor(std::log10(low))) : -6;
  high_ = usable ? static_cast<int>(std::ceil(std::log10(high))) : 0;
  high_ = std::max(high_, low_ + 1);
}

double LogAxis::y(double value) const {
  const double exponent = value > 0 ? std::log10(value) : low_;
  const double part = std::clamp((exponent - low_) / (high_ - low_), 0.0, 1.0);
  return bottom_ - part * (bottom_ - top_);
}

bool LogAxis::covers(double value) const {
  return value >= std::pow(10.0, low_) && value <= std::pow(10.0, high_);
}

std::string LogAxis::grid(double left, double right) const {
  std::string svg;
  for (int exponent = low_; exponent <= high_; ++exponent) {
    const double at = y(std::pow(10.0, exponent));
    svg += fmt::format("<path d=\"M{:.1f} {:.1f}H{:.1f}\" stroke=\"#ddd\"/>\n", left, at, right);
    svg += svg_text(left - 6, at + 4, "end", fmt::format("{:g}", std::pow(10.0, exponent)));
  }
  return svg;
}

}  // namespace yoloquant::report

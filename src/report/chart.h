#pragma once

#include <span>
#include <string>
#include <vector>

#include "data/picture.h"

namespace yoloquant::report {

// One line of a chart. Where y is not finite the line is broken, and a value of its own is a dot.
struct Series {
  std::string name;
  std::vector<data::PicturePoint> points;  // by rising x
};

struct Chart {
  std::string title;
  std::string x_label;
  std::vector<Series> series;
  bool from_zero = false;  // the y axis includes 0
  bool whole_x = true;     // x are whole numbers: epochs
};

// A linear axis with round numbers.
struct Ticks {
  double low = 0;
  double high = 1;
  double step = 1;  // 1, 2 or 5 times a power of ten
};
// Of a finite range low <= high, which it covers with at most `intervals` + 2 steps.
Ticks make_ticks(double low, double high, int intervals);

// The charts in rows of `columns`, under one title and with one range of x.
data::Picture draw_charts(const std::string& title, std::span<const Chart> charts, int columns);

}  // namespace yoloquant::report

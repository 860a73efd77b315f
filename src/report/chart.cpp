#include "report/chart.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

namespace yoloquant::report {
namespace {

using data::Caption;
using data::Picture;
using data::PicturePoint;
using data::Polyline;

// Pixels.
constexpr double kCellWidth = 400;
constexpr double kCellHeight = 260;
constexpr double kHeader = 44;
constexpr double kLeft = 62;  // of the plot within its cell
constexpr double kRight = 18;
constexpr double kTop = 30;
constexpr double kBottom = 46;
constexpr double kSmall = 11;  // font of axes and legend

constexpr uint32_t kGridColor = 0xE4E4E4;
constexpr uint32_t kAxisColor = 0x888888;
constexpr uint32_t kLabelColor = 0x555555;
// Paul Tol's bright scheme: told apart by the colour-blind too.
constexpr std::array<uint32_t, 5> kColors{0x4477AA, 0xEE6677, 0x228833, 0xCCBB44, 0xAA3377};

constexpr size_t kMostDots = 30;  // with fewer points each is marked
// A training that has exploded must not end the picture.
constexpr double kLargest = 1e30;

bool is_shown(double y) { return std::isfinite(y) && std::abs(y) < kLargest; }

// Of small text; about right for sans-serif fonts.
double text_width(const std::string& text) {
  double width = 0;
  for (const char c : text) {
    const bool is_wide = c == 'm' || c == 'w' || c == 'M' || c == 'W';
    width += is_wide ? 1.0 : c >= 'a' && c <= 'z' ? 0.55 : 0.68;
  }
  return width * kSmall;
}

struct Range {
  double low = 0;
  double high = 0;
  bool empty = true;

  void widen(double value) {
    low = empty ? value : std::min(low, value);
    high = empty ? value : std::max(high, value);
    empty = false;
  }
};

// Shared by all charts of a picture, so that what is below each other is of the same epoch.
Range x_range(std::span<const Chart> charts) {
  Range x;
  for (const Chart& chart : charts) {
    for (const Series& series : chart.series) {
      for (const PicturePoint& point : series.points) x.widen(point.x);
    }
  }
  if (x.low == x.high) x = {x.low - 1, x.high + 1, false};
  return x;
}

class ChartPainter {
 public:
  ChartPainter(Picture& picture, const Chart& chart, const Range& x, double left, double top)
      : picture_(picture),
        chart_(chart),
        left_(left + kLeft),
        right_(left + kCellWidth - kRight),
        top_(top + kTop),
        bottom_(top + kCellHeight - kBottom),
        x_(x) {
    Range y;
    for (const Series& series : chart.series) {
      for (const PicturePoint& point : series.points) {
        if (is_shown(point.y)) y.widen(point.y);
      }
    }
    if (chart.from_zero) y.widen(0);
    x_step_ = make_ticks(x_.low, x_.high, 6).step;
    if (chart.whole_x) x_step_ = std::max(x_step_, 1.0);
    y_ = make_ticks(y.low, y.high, 4);
    is_empty_ = y.empty;
  }

  void draw() {
    caption(left_, top_ - 10, Caption::Anchor::kStart, chart_.title, 13, 0x222222, true);
    axes();
    for (size_t i = 0; i < chart_.series.size(); ++i) line(chart_.series[i], color(i));
    legend();
  }

 private:
  static uint32_t color(size_t series) { return kColors.at(series % kColors.size()); }

  double x(double value) const {
    return left_ + (value - x_.low) / (x_.high - x_.low) * (right_ - left_);
  }
  double y(double value) const {
    return bottom_ - (value - y_.low) / (y_.high - y_.low) * (bottom_ - top_);
  }

  void caption(double at_x, double at_y, Caption::Anchor anchor, const std::string& text,
               double size = kSmall, uint32_t color = kLabelColor, bool bold = false) {
    picture_.shapes.emplace_back(Caption{{at_x, at_y}, anchor, text, size, color, bold});
  }
  void stroke(std::vector<PicturePoint> points, uint32_t color, double width) {
    picture_.shapes.emplace_back(Polyline{std::move(points), color, width});
  }

  void axes() {
    const auto lines = std::lround((y_.high - y_.low) / y_.step);
    for (long i = 0; i <= lines && !is_empty_; ++i) {
      const double value = y_.low + static_cast<double>(i) * y_.step;
      stroke({{left_, y(value)}, {right_, y(value)}}, kGridColor, 1);
      // What is left of the rounding of a zero is a zero.
      const double label = std::abs(value) < y_.step / 1e6 ? 0 : value;
      caption(left_ - 6, y(value) + 4, Caption::Anchor::kEnd, fmt::format("{:.5g}", label));
    }
    stroke({{left_, top_}, {left_, bottom_}, {right_, bottom_}}, kAxisColor, 1);
    const double first = std::ceil(x_.low / x_step_) * x_step_;
    const auto marks = static_cast<int>(std::floor((x_.high - first) / x_step_ + 1e-9));
    for (int i = 0; i <= marks; ++i) {
      const double at = first + i * x_step_;
      stroke({{x(at), bottom_}, {x(at), bottom_ + 4}}, kAxisColor, 1);
      caption(x(at), bottom_ + 17, Caption::Anchor::kMiddle, fmt::format("{:.6g}", at));
    }
    caption((left_ + right_) / 2, bottom_ + 34, Caption::Anchor::kMiddle, chart_.x_label);
    if (is_empty_) {
      caption((left_ + right_) / 2, (top_ + bottom_) / 2, Caption::Anchor::kMiddle, "no values");
    }
  }

  void line(const Series& series, uint32_t color) {
    const bool dots = series.points.size() <= kMostDots;
    std::vector<PicturePoint> run;
    const auto end_run = [&] {
      if (run.size() == 1 || dots) {
        for (const PicturePoint& at : run) picture_.shapes.emplace_back(data::Disc{at, 2.2, color});
      }
      if (run.size() > 1) stroke(std::move(run), color, 1.5);
      run.clear();
    };
    for (const PicturePoint& point : series.points) {
      if (is_shown(point.y)) {
        run.push_back({x(point.x), y(point.y)});
      } else {
        end_run();
      }
    }
    end_run();
  }

  // From the right end of the title's line.
  void legend() {
    double at = right_;
    for (size_t i = chart_.series.size(); i-- > 0;) {
      const std::string& name = chart_.series[i].name;
      if (name.empty()) continue;
      caption(at, top_ - 10, Caption::Anchor::kEnd, name);
      at -= text_width(name) + 9;
      stroke({{at - 16, top_ - 14}, {at, top_ - 14}}, color(i), 2.5);
      at -= 30;
    }
  }

  Picture& picture_;
  const Chart& chart_;
  double left_;
  double right_;
  double top_;
  double bottom_;
  Range x_;
  double x_step_ = 1;
  Ticks y_;
  bool is_empty_ = false;
};

}  // namespace

Ticks make_ticks(double low, double high, int intervals) {
  double span = high - low;
  if (!(span > std::abs(high) * 1e-9)) {
    // All but constant: a band around it.
    const double band = std::abs(high) * 0.1;
    low = band > 0 ? low - band : 0;
    high = band > 0 ? high + band : 1;
    span = high - low;
  }
  const double rough = span / intervals;
  const double power = std::pow(10.0, std::floor(std::log10(rough)));
  double step = power * 10;
  for (const double factor : {1.0, 2.0, 5.0}) {
    if (factor * power >= rough * (1 - 1e-9)) {
      step = factor * power;
      break;
    }
  }
  return {std::floor(low / step + 1e-9) * step, std::ceil(high / step - 1e-9) * step, step};
}

Picture draw_charts(const std::string& title, std::span<const Chart> charts, int columns) {
  const auto count = static_cast<int>(charts.size());
  const int rows = (count + columns - 1) / columns;
  Picture picture{
      .width = kCellWidth * columns, .height = kHeader + kCellHeight * rows, .shapes = {}};
  picture.shapes.emplace_back(
      Caption{{kLeft, 26}, Caption::Anchor::kStart, title, 16, 0x222222, true});
  const Range x = x_range(charts);
  for (int i = 0; i < count; ++i) {
    ChartPainter(picture, charts[static_cast<size_t>(i)], x, kCellWidth * (i % columns),
                 kHeader + kCellHeight * (i / columns))
        .draw();
  }
  return picture;
}

}  // namespace yoloquant::report

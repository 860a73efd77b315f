#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "base/text.h"
#include "report/summary.h"
#include "report/svg.h"

namespace yoloquant::report {
namespace {

// Pixels. Groups of horizontal bars side by side, one row a variant.
constexpr double kRow = 34;
constexpr double kBar = 18;
constexpr double kTop = 56;
constexpr double kLabels = 110;
constexpr double kPanel = 300;
constexpr double kGap = 90;

std::string bar(double x, double y, double width, const char* color) {
  return fmt::format(
      "<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" fill=\"{}\"/>\n", x, y,
      std::max(width, 0.5), kBar, color);
}

// An interval as a line with end marks.
std::string whisker(double low, double high, double y) {
  const double middle = y + kBar / 2;
  return fmt::format(
      "<path d=\"M{0:.1f} {2:.1f}H{1:.1f}M{0:.1f} {3:.1f}V{4:.1f}M{1:.1f} {3:.1f}V{4:.1f}\" "
      "stroke=\"#333\" fill=\"none\"/>\n",
      low, high, middle, middle - 4, middle + 4);
}

// One figure of each variant.
struct Panel {
  const char* title;
  const char* color;
  struct Row {
    double value = 0;
    std::string text;
    std::optional<Interval> interval;
  };
  std::vector<Row> rows;
  double top = 0;  // of the scale; 0: the largest value
};

std::string draw_panel(const Panel& panel, double x) {
  double top = std::max(panel.top, 1e-6);
  for (const Panel::Row& row : panel.rows) {
    top = std::max({top, row.value, row.interval ? row.interval->high : 0});
  }
  const double scale = kPanel / top;
  std::string svg = svg_text(x, kTop - 12, "start", panel.title);
  double y = kTop;
  for (const Panel::Row& row : panel.rows) {
    double end = std::max(row.value, 0.0) * scale;
    svg += bar(x, y, end, panel.color);
    if (row.interval) {
      const double low = std::max(row.interval->low, 0.0) * scale;
      end = std::max(end, row.interval->high * scale);
      svg += whisker(x + low, x + row.interval->high * scale, y);
    }
    svg += svg_text(x + end + 6, y + kBar - 4, "start", row.text);
    y += kRow;
  }
  return svg;
}

std::string figure(double value) { return value < 0 ? "-" : fmt::format("{:.4f}", value); }

std::vector<Panel> make_panels(const RunSummary& summary) {
  Panel map{.title = "mAP50-95", .color = "#4477aa", .rows = {}};
  Panel fidelity{.title = "fidelity", .color = "#66aa77", .rows = {}, .top = 1};
  Panel size{.title = "file size", .color = "#cc8844", .rows = {}};
  bool has_fidelity = false;
  for (const Variant& v : summary.variants) {
    map.rows.push_back({v.map_50_95, figure(v.map_50_95), v.map_interval});
    fidelity.rows.push_back({v.fidelity, figure(v.fidelity), v.fidelity_interval});
    has_fidelity = has_fidelity || v.fidelity >= 0;
    const auto bytes = static_cast<double>(v.file_bytes);
    size.rows.push_back({bytes, human_bytes(bytes), {}});
  }
  std::vector<Panel> panels{std::move(map)};
  if (has_fidelity) panels.push_back(std::move(fidelity));
  panels.push_back(std::move(size));
  return panels;
}

}  // namespace

std::string summary_svg(const RunSummary& summary) {
  const std::vector<Panel> panels = make_panels(summary);
  const double width = kLabels + static_cast<double>(panels.size()) * (kPanel + kGap);
  const double height = kTop + kRow * static_cast<double>(summary.variants.size()) + 10;
  std::string svg = svg_open(width, height);
  svg += svg_text(10, 22, "start", summary.title);
  double y = kTop;
  for (const Variant& v : summary.variants) {
    svg += svg_text(kLabels - 8, y + kBar - 4, "end", v.name);
    y += kRow;
  }
  double x = kLabels;
  for (const Panel& panel : panels) {
    svg += draw_panel(panel, x);
    x += kPanel + kGap;
  }
  return svg + "</svg>\n";
}

}  // namespace yoloquant::report

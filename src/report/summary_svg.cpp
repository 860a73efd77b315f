#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "report/summary.h"
#include "report/svg.h"

namespace yoloquant::report {
namespace {

// Pixels. Two groups of horizontal bars side by side, one row a variant.
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

}  // namespace

std::string summary_svg(const RunSummary& summary) {
  double top_map = 1e-6;
  int64_t top_bytes = 1;
  for (const Variant& v : summary.variants) {
    top_map = std::max({top_map, v.map_50_95, v.map_interval ? v.map_interval->high : 0});
    top_bytes = std::max(top_bytes, v.file_bytes);
  }
  const double second = kLabels + kPanel + kGap;
  const double width = second + kPanel + kGap;
  const double height = kTop + kRow * static_cast<double>(summary.variants.size()) + 10;
  std::string svg = svg_open(width, height);
  svg += svg_text(10, 22, "start", summary.title);
  svg += svg_text(kLabels, kTop - 12, "start", "mAP50-95");
  svg += svg_text(second, kTop - 12, "start", "file size");
  double y = kTop;
  for (const Variant& v : summary.variants) {
    const double map_scale = kPanel / top_map;
    const double map = std::max(v.map_50_95, 0.0) * map_scale;
    svg += svg_text(kLabels - 8, y + kBar - 4, "end", v.name);
    svg += bar(kLabels, y, map, "#4477aa");
    double end = map;
    if (v.map_interval) {
      const double low = std::max(v.map_interval->low, 0.0) * map_scale;
      end = std::max(end, v.map_interval->high * map_scale);
      svg += whisker(kLabels + low, kLabels + v.map_interval->high * map_scale, y);
    }
    svg += svg_text(kLabels + end + 6, y + kBar - 4, "start",
                    v.map_50_95 < 0 ? "-" : fmt::format("{:.4f}", v.map_50_95));
    const double size = kPanel * static_cast<double>(v.file_bytes) / static_cast<double>(top_bytes);
    svg += bar(second, y, size, "#cc8844");
    svg += svg_text(second + size + 6, y + kBar - 4, "start",
                    human_bytes(static_cast<double>(v.file_bytes)));
    y += kRow;
  }
  return svg + "</svg>\n";
}

}  // namespace yoloquant::report

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <set>

#include "report/sensitivity.h"
#include "report/svg.h"

namespace yoloquant::report {
namespace {

constexpr double kLeft = 84;
constexpr double kTop = 64;
constexpr double kPanel = 250;  // height
constexpr double kPanelGap = 56;
constexpr double kStep = 12;  // a layer
constexpr double kListWidth = 330;
constexpr size_t kWorst = 10;

// Paul Tol's bright scheme: told apart by the colour-blind too.
constexpr std::array<const char*, 6> kColors{"#ee6677", "#ccbb44", "#4477aa",
                                             "#228833", "#aa3377", "#66ccee"};

const char* color_of(size_t index) { return kColors.at(index % kColors.size()); }

std::string bits_label(int bits) {
  return bits == 0 ? std::string("float") : fmt::format("{} bits", bits);
}

// The module that a conv belongs to: "model.4" of "model.4.m.0.cv1.conv".
std::string module_of(const std::string& conv) {
  const size_t first = conv.find('.');
  return conv.substr(0, first == std::string::npos ? first : conv.find('.', first + 1));
}

struct Chart {
  explicit Chart(const SensitivityReport& shown) : report(shown) {
    for (const SensitivityRow& row : shown.rows) {
      if (row.block) continue;
      if (!place.contains(row.name)) {
        place.emplace(row.name, convs.size());
        convs.push_back(row.name);
      }
      bits.insert(row.bits);
      parts.insert(row.part);
    }
    right = kLeft + kStep * static_cast<double>(convs.size());
  }

  double x(size_t conv) const { return kLeft + kStep * (static_cast<double>(conv) + 0.5); }

  // Grey bands behind every other module, its number below.
  std::string modules(double top, double bottom) const {
    std::string svg;
    bool grey = false;
    for (size_t begin = 0; begin < convs.size();) {
      const std::string module = module_of(convs[begin]);
      size_t end = begin;
      while (end < convs.size() && module_of(convs[end]) == module) ++end;
      const double from = kLeft + kStep * static_cast<double>(begin);
      const double width = kStep * static_cast<double>(end - begin);
      if (grey) {
        svg += fmt::format(
            "<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" "
            "fill=\"#f3f3f3\"/>\n",
            from, top, width, bottom - top);
      }
      const size_t dot = module.rfind('.');
      const std::string number = dot == std::string::npos ? module : module.substr(dot + 1);
      if (number.size() * 6 <= static_cast<size_t>(width) + 4) {
        svg += svg_text(from + width / 2, bottom + 14, "middle", number, "fill=\"#666\"");
      }
      grey = !grey;
      begin = end;
    }
    return svg;
  }

  std::string points(const std::string& part, const LogAxis& axis) const {
    std::string lines;
    std::string dots;
    std::map<size_t, std::pair<double, double>> spans;
    for (const SensitivityRow& row : report.rows) {
      if (row.block || row.part != part || row.impact() <= 0) continue;
      const size_t conv = place.at(row.name);
      const double y = axis.y(row.impact());
      spans.try_emplace(conv, y, y);
      spans[conv] = {std::min(spans[conv].first, y), std::max(spans[conv].second, y)};
      if (!axis.covers(row.impact())) continue;
      const auto color = std::distance(bits.begin(), bits.find(row.bits));
      dots += fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"3.5\" fill=\"{}\"/>\n", x(conv),
                          y, color_of(static_cast<size_t>(color)));
    }
    for (const auto& [conv, span] : spans) {
      lines += fmt::format("<path d=\"M{:.1f} {:.1f}V{:.1f}\" stroke=\"#bbb\"/>\n", x(conv),
                           span.first, span.second);
    }
    return lines + dots;
  }

  // Numbers above the worst layers, and who they are beside the panel.
  std::string worst(const std::string& part, const LogAxis& axis, double top) const {
    std::string svg;
    size_t number = 0;
    for (const SensitivityLine& line : ranked_lines(report)) {
      if (line.block || line.part != part || number == kWorst || line.ranked->impact() <= 0) {
        continue;
      }
      ++number;
      double highest = axis.y(line.ranked->impact());
      for (const auto& [b, row] : line.by_bits) highest = std::min(highest, axis.y(row->impact()));
      svg += svg_text(x(place.at(line.name)), highest - 7, "middle", fmt::format("{}", number),
                      "font-size=\"10\" font-weight=\"bold\"");
      const double y = top + 22 + 20 * static_cast<double>(number);
      svg += svg_text(right + 42, y, "end", fmt::format("{}", number), "font-weight=\"bold\"");
      svg += svg_text(right + 50, y, "start",
                      fmt::format("{}  {:.2g}", line.name, line.ranked->impact()));
      if (number == 1) {
        svg +=
            svg_text(right + 24, top + 12, "start",
                     fmt::format("worst, at {}", bits_label(line.ranked->bits)), "fill=\"#666\"");
      }
    }
    return svg;
  }

  std::string legend() const {
    std::string svg;
    double at = kLeft + 8;
    size_t color = 0;
    for (const int b : bits) {
      svg += fmt::format("<circle cx=\"{:.1f}\" cy=\"40\" r=\"4\" fill=\"{}\"/>\n", at,
                         color_of(color++));
      svg += svg_text(at + 9, 44, "start", bits_label(b));
      at += 76;
    }
    return svg;
  }

  LogAxis axis(const std::string& part, double top) const {
    double low = 0;
    double high = 0;
    for (const SensitivityRow& row : report.rows) {
      if (row.block || row.part != part || row.impact() <= 0) continue;
      low = low == 0 ? row.impact() : std::min(low, row.impact());
      high = std::max(high, row.impact());
    }
    // What is all but exact would flatten the rest; it is not drawn.
    return {std::max(low, high * 1e-6), high, top, top + kPanel};
  }

  const SensitivityReport& report;
  std::vector<std::string> convs;
  std::map<std::string, size_t> place;
  std::set<int> bits;
  std::set<std::string> parts;
  double right = 0;
};

}  // namespace

std::string sensitivity_svg(const SensitivityReport& report) {
  const Chart chart(report);
  const double width = chart.right + kListWidth;
  const std::vector<std::string> parts{chart.parts.rbegin(), chart.parts.rend()};
  const double height = kTop + static_cast<double>(parts.size()) * (kPanel + kPanelGap);
  std::string svg = svg_open(width, height, 12);
  const std::string what = report.base.empty() ? "harm of one quantized layer, all else float"
                                               : "gain by raising one layer of " + report.base;
  svg +=
      svg_text(kLeft, 22, "start", fmt::format("{}: {}", report.model, what), "font-size=\"15\"");
  svg += chart.legend();
  double top = kTop;
  for (const std::string& part : parts) {
    const LogAxis axis = chart.axis(part, top);
    svg += chart.modules(top, top + kPanel);
    svg += axis.grid(kLeft, chart.right);
    svg += chart.points(part, axis);
    svg += chart.worst(part, axis, top);
    const double middle = top + kPanel / 2;
    svg +=
        svg_text(16, middle, "middle", part,
                 fmt::format("transform=\"rotate(-90 16 {:.1f})\" font-weight=\"bold\"", middle));
    svg += svg_text(chart.right, top + kPanel + 30, "end",
                    "convs in execution order; numbers of modules", "fill=\"#666\"");
    top += kPanel + kPanelGap;
  }
  return svg + "</svg>\n";
}

std::string bit_allocation_svg(const BitAllocationReport& report) {
  constexpr double kWidth = 720;
  constexpr double kHeight = 420;
  constexpr double kBottom = kHeight - 50;
  constexpr double kRight = kWidth - 40;
  double low_bits = report.chosen.mean_bits;
  double high_bits = low_bits;
  double low = 0;
  double high = report.chosen.harm;
  const auto widen = [&](const BitPoint& point) {
    low_bits = std::min(low_bits, point.mean_bits);
    high_bits = std::max(high_bits, point.mean_bits);
    high = std::max(high, point.harm);
    if (point.harm > 0) low = low == 0 ? point.harm : std::min(low, point.harm);
  };
  for (const BitPoint& point : report.best) widen(point);
  for (const BitPoint& point : report.uniform) widen(point);
  const LogAxis axis(low, high, 50, kBottom);
  const double spread = std::max(high_bits - low_bits, 1e-9);
  const auto x = [&](double bits) {
    return kLeft + 10 + (bits - low_bits) / spread * (kRight - kLeft - 20);
  };
  std::string svg = svg_open(kWidth, kHeight, 12);
  svg += svg_text(kLeft, 22, "start", report.title, "font-size=\"15\"");
  svg += axis.grid(kLeft, kRight);
  svg += svg_text(16, 210, "middle", "predicted harm", "transform=\"rotate(-90 16 210)\"");
  svg += svg_text((kLeft + kRight) / 2, kHeight - 12, "middle", "mean bits of a weight");
  for (int bits = static_cast<int>(low_bits + 0.999); bits <= high_bits; ++bits) {
    svg += fmt::format("<path d=\"M{0:.1f} {1:.1f}v5\" stroke=\"#666\"/>\n", x(bits), kBottom);
    svg += svg_text(x(bits), kBottom + 18, "middle", fmt::format("{}", bits));
  }
  std::string path;
  for (const BitPoint& point : report.best) {
    path += fmt::format("{}{:.1f} {:.1f}", path.empty() ? "M" : "L", x(point.mean_bits),
                        axis.y(point.harm));
  }
  svg +=
      fmt::format("<path d=\"{}\" stroke=\"#4477aa\" stroke-width=\"2\" fill=\"none\"/>\n", path);
  const auto mark = [&](const BitPoint& point, const char* color) {
    const double px = x(point.mean_bits);
    const double py = axis.y(point.harm);
    svg +=
        fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"5\" fill=\"{}\"/>\n", px, py, color);
    const bool flip = px > kRight - 110;
    svg += svg_text(flip ? px - 9 : px + 9, py - 6, flip ? "end" : "start", point.label);
  };
  for (const BitPoint& point : report.uniform) mark(point, "#bbbbbb");
  mark(report.chosen, "#ee6677");
  return svg + "</svg>\n";
}

}  // namespace yoloquant::report

#include "cli/fidelity_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "cli/terminal.h"

namespace yoloquant::cli {
namespace {

constexpr size_t kRows = 10;  // of each table; all are in the files

using Rows = std::vector<std::vector<std::string>>;

std::string figure(double value) { return value < 0 ? "-" : fmt::format("{:.4f}", value); }

std::vector<std::string> row(const std::string& name, const eval::FidelityFigures& f) {
  return {name,
          figure(f.fidelity),
          figure(f.fidelity_50),
          fmt::format("{}", f.reference_boxes),
          fmt::format("{}", f.missed),
          fmt::format("{}", f.extra)};
}

// The rows that are worth a look: something differs.
template <typename Items, typename NameOf>
std::string worst_table(const char* what, const Items& items, const NameOf& name_of) {
  Rows rows{{what, "fidelity", "fidelity50", "boxes", "missed", "extra"}};
  for (const auto& item : items) {
    if (rows.size() > kRows) break;
    const eval::FidelityFigures& f = item.figures;
    if (f.reference_boxes > 0 || f.extra > 0) rows.push_back(row(name_of(item), f));
  }
  return rows.size() == 1 ? "" : "\n" + format_table(rows);
}

}  // namespace

std::string fidelity_line(const eval::Fidelity& fidelity) {
  const eval::FidelityFigures& f = fidelity.figures;
  if (f.fidelity < 0) return "fidelity is not defined: the reference sees nothing\n";
  std::string text = fmt::format("fidelity {:.4f}", f.fidelity);
  if (fidelity.intervals) {
    const eval::Interval& interval = fidelity.intervals->map_50_95;
    text += fmt::format(" (95 % interval {:.4f} to {:.4f})", interval.low, interval.high);
  }
  return text + fmt::format(
                    ", fidelity50 {:.4f}, mean of images {:.4f}; {} reference boxes in {} of {} "
                    "images, {} missed, {} extra\n",
                    f.fidelity_50, fidelity.image_mean, f.reference_boxes,
                    fidelity.num_images - fidelity.images_without_reference, fidelity.num_images,
                    f.missed, f.extra);
}

std::string fidelity_text(const pipeline::FidelityResult& result) {
  const eval::Fidelity& fidelity = result.fidelity;
  return fidelity_line(fidelity) +
         worst_table("worst classes", fidelity.classes,
                     [](const eval::ClassFidelity& item) { return item.name; }) +
         worst_table("worst images", fidelity.images,
                     [&](const eval::ImageFidelity& item) {
                       return result.image(item.image_id).filename().string();
                     }) +
         '\n';
}

}  // namespace yoloquant::cli

#include "report/training_curves.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/file.h"
#include "data/image.h"
#include "report/picture_svg.h"

namespace yoloquant::report {
namespace {

constexpr int kColumns = 3;

// What `get` gives of each epoch that has it.
template <typename Get>
Series series_of(std::string name, std::span<const EpochRecord> epochs, Get get) {
  Series series{.name = std::move(name), .points = {}};
  for (const EpochRecord& record : epochs) {
    const std::optional<double> value = get(record);
    if (value) series.points.push_back({static_cast<double>(record.epoch + 1), *value});
  }
  return series;
}

std::string loss_title(size_t part) {
  constexpr std::array<const char*, 3> kParts{"box", "class", "DFL"};
  return fmt::format("{} loss, {}", kParts.at(part % 3), part < 3 ? "one2many" : "one2one");
}

Chart loss_chart(std::span<const EpochRecord> epochs, size_t part) {
  Chart chart{.title = loss_title(part), .x_label = "epoch", .series = {}};
  chart.series.push_back(
      series_of("train", epochs, [&](const EpochRecord& r) { return r.train_losses[part]; }));
  chart.series.push_back(series_of("val", epochs, [&](const EpochRecord& r) {
    return r.val_losses ? std::optional((*r.val_losses)[part]) : std::nullopt;
  }));
  return chart;
}

std::string title_of(std::span<const EpochRecord> epochs) {
  const EpochRecord* best = nullptr;
  for (const EpochRecord& record : epochs) {
    if (record.map && (best == nullptr || *record.map > *best->map)) best = &record;
  }
  const int64_t count = epochs.empty() ? 0 : epochs.back().epoch + 1;
  std::string title = fmt::format("{} epoch{}", count, count == 1 ? "" : "s");
  if (best != nullptr) {
    title += fmt::format(", best mAP50-95 {:.4f} in epoch {}", *best->map, best->epoch + 1);
  }
  return title;
}

}  // namespace

std::vector<Chart> training_charts(std::span<const EpochRecord> epochs) {
  std::vector<Chart> charts;
  for (size_t part = 0; part < kLossColumns.size(); ++part) {
    charts.push_back(loss_chart(epochs, part));
  }
  Chart detection{
      .title = "precision and recall", .x_label = "epoch", .series = {}, .from_zero = true};
  detection.series.push_back(
      series_of("precision", epochs, [](const EpochRecord& r) { return r.precision; }));
  detection.series.push_back(
      series_of("recall", epochs, [](const EpochRecord& r) { return r.recall; }));
  Chart map{.title = "mAP", .x_label = "epoch", .series = {}, .from_zero = true};
  map.series.push_back(series_of("mAP50", epochs, [](const EpochRecord& r) { return r.map50; }));
  map.series.push_back(series_of("mAP50-95", epochs, [](const EpochRecord& r) { return r.map; }));
  Chart rates{.title = "learning rate", .x_label = "epoch", .series = {}, .from_zero = true};
  for (size_t group = 0; group < Rates().size(); ++group) {
    rates.series.push_back(series_of(fmt::format("pg{}", group), epochs,
                                     [&](const EpochRecord& r) { return r.rates[group]; }));
  }
  charts.insert(charts.end(), {std::move(detection), std::move(map), std::move(rates)});
  return charts;
}

void write_training_curves(const std::filesystem::path& stem, std::span<const EpochRecord> epochs) {
  const data::Picture picture = draw_charts(title_of(epochs), training_charts(epochs), kColumns);
  const auto with = [&](const char* extension) {
    return std::filesystem::path(stem.string() + extension);
  };
  write_file(with(".svg"), picture_svg(picture));
  data::write_image(with(".png"), data::rasterize(picture));
}

}  // namespace yoloquant::report

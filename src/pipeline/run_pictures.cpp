#include "pipeline/run_pictures.h"

#include <algorithm>
#include <map>
#include <utility>

#include "base/error.h"
#include "data/batch_drawing.h"
#include "data/coco_dataset.h"
#include "eval/detections_json.h"
#include "pipeline/run_compare.h"

namespace yoloquant::pipeline {
namespace {

constexpr double kShownScore = 0.25;
constexpr size_t kTilesAcross = 6;  // as many images in a row as fit

// Boxes to draw, by image id.
using Boxes = std::map<int64_t, std::vector<data::LabeledBox>>;

Boxes read_boxes(const std::filesystem::path& path, const data::CocoDataset& dataset) {
  Boxes boxes;
  for (const eval::CocoDetection& d : eval::read_detections(path)) {
    if (d.score < kShownScore) continue;
    const int64_t index = dataset.category_index(d.category_id);
    if (index < 0) fail("{}: there is no category {}", path.string(), d.category_id);
    const std::string& name = dataset.categories()[static_cast<size_t>(index)].name;
    boxes[d.image_id].push_back({.box = {d.x, d.y, d.x + d.width, d.y + d.height},
                                 .class_id = static_cast<int>(index),
                                 .label = fmt::format("{} {:.2f}", name, d.score)});
  }
  return boxes;
}

std::string title(const RunPlan& plan, const PlannedVariant& variant) {
  return fmt::format("{}  mAP {:.3f}", variant.name, variant_map(plan, variant));
}

}  // namespace

std::vector<const PlannedVariant*> pictured_variants(const RunPlan& plan) {
  const std::vector<std::string>& wanted = plan.options.pictures.variants;
  std::vector<const PlannedVariant*> shown;
  for (const PlannedVariant& variant : plan.variants) {
    const bool asked_for =
        wanted.empty() || std::ranges::find(wanted, variant.name) != wanted.end();
    if (shown.empty() || asked_for) shown.push_back(&variant);
  }
  return shown;
}

data::Image draw_pictures(const RunPlan& plan) {
  const auto dataset =
      data::CocoDataset::open(plan.options.eval.coco_root, plan.options.eval.split);
  std::vector<int64_t> ids = evaluated_images(plan, plan.variants.front());
  ids.resize(std::min(ids.size(), static_cast<size_t>(plan.options.pictures.images)));
  std::vector<std::pair<std::string, Boxes>> columns;
  for (const PlannedVariant* variant : pictured_variants(plan)) {
    columns.emplace_back(title(plan, *variant),
                         read_boxes(plan.root / variant->detections(), dataset));
  }
  std::vector<data::Tile> tiles;
  for (const int64_t id : ids) {
    const auto index = static_cast<size_t>(dataset.image_index(id));
    const data::Image image = data::read_image(dataset.image_path(dataset.images()[index]));
    for (auto& [name, boxes] : columns) {
      tiles.push_back({.image = image, .boxes = std::move(boxes[id]), .title = name});
    }
  }
  const size_t images_across =
      std::clamp(kTilesAcross / columns.size(), size_t{1}, std::max(ids.size(), size_t{1}));
  return data::draw_grid(tiles, {.max_tiles = tiles.size(),
                                 .columns = static_cast<int>(images_across * columns.size())});
}

}  // namespace yoloquant::pipeline

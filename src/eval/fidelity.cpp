#include "eval/fidelity.h"

#include <algorithm>
#include <numeric>
#include <tuple>

#include "base/error.h"
#include "eval/coco_thresholds.h"

namespace yoloquant::eval {
namespace {

using data::CocoAnnotation;
using data::CocoCategory;
using data::CocoDataset;
using data::CocoImage;

// False for a NaN as well.
bool has_area(const CocoDetection& d) { return d.width > 0 && d.height > 0; }

// Scores are compared as float32, in which models give them and matches keep them.
bool is_confident(double score, double threshold) {
  return static_cast<float>(score) >= static_cast<float>(threshold);
}

// The data set without annotations: images and categories under their ids, in ascending order.
CocoDataset make_frame(std::span<const CocoCategory> categories, std::span<const int64_t> ids) {
  std::vector<CocoImage> images;
  images.reserve(ids.size());
  for (const int64_t id : ids) images.push_back({.id = id, .file_name = {}});
  return CocoDataset::make({categories.begin(), categories.end()}, images, {});
}

// Detections on images and in categories of the data set, without those that can match nothing.
std::vector<CocoDetection> usable(std::span<const CocoDetection> detections,
                                  const CocoDataset& frame) {
  std::vector<CocoDetection> kept;
  for (const CocoDetection& d : detections) {
    if (has_area(d) && frame.image_index(d.image_id) >= 0 &&
        frame.category_index(d.category_id) >= 0) {
      kept.push_back(d);
    }
  }
  return kept;
}

// The reference's confident detections as annotations, the best 100 an image and category.
std::vector<CocoAnnotation> annotate(const std::vector<CocoDetection>& detections,
                                     const CocoDataset& frame, double threshold) {
  std::vector<const CocoDetection*> order;
  for (const CocoDetection& d : detections) {
    if (is_confident(d.score, threshold)) order.push_back(&d);
  }
  std::ranges::stable_sort(order, {}, [](const CocoDetection* d) {
    return std::tuple(d->image_id, d->category_id, -d->score);
  });
  std::vector<CocoAnnotation> annotations;
  size_t of_group = 0;
  for (size_t i = 0; i < order.size(); ++i) {
    const CocoDetection& d = *order[i];
    const bool same_group =
        i > 0 && order[i - 1]->image_id == d.image_id && order[i - 1]->category_id == d.category_id;
    of_group = same_group ? of_group + 1 : 0;
    if (of_group >= kMaxDetections) continue;
    annotations.push_back({.id = static_cast<int64_t>(annotations.size()) + 1,
                           .x = d.x,
                           .y = d.y,
                           .width = d.width,
                           .height = d.height,
                           .area = d.width * d.height,
                           .image = static_cast<int32_t>(frame.image_index(d.image_id)),
                           .category = static_cast<int32_t>(frame.category_index(d.category_id))});
  }
  return annotations;
}

void count_boxes(const MatchTable& matches, double threshold, Fidelity& result) {
  for (size_t k = 0; k < matches.classes.size(); ++k) {
    FidelityFigures& of_class = result.classes[k].figures;
    for (const auto& [image, count] : matches.classes[k].positives) {
      for (FidelityFigures* figures : {&of_class, &result.images[image].figures}) {
        figures->reference_boxes += count;
        figures->missed += count;  // until it is found
      }
    }
    for (const MatchRecord& record : matches.classes[k].detections) {
      if (!is_confident(record.score, threshold)) continue;
      for (FidelityFigures* figures : {&of_class, &result.images[record.image].figures}) {
        figures->missed -= record.true_positive & 1;  // bit 0: IoU .5
        figures->extra += record.false_positive & 1;
      }
    }
    result.figures.reference_boxes += of_class.reference_boxes;
    result.figures.missed += of_class.missed;
    result.figures.extra += of_class.extra;
  }
}

// The matches of each image as a table of its own, with the classes that the reference sees in it.
std::vector<MatchTable> split_by_image(const MatchTable& matches) {
  std::vector<MatchTable> tables(matches.image_ids.size());
  for (size_t i = 0; i < tables.size(); ++i) tables[i].image_ids = {matches.image_ids[i]};
  std::vector<bool> sees(tables.size());
  for (const ClassMatches& of_class : matches.classes) {
    for (const auto& item : of_class.positives) {
      sees[item.image] = true;
      tables[item.image].classes.emplace_back().positives = {{.image = 0, .count = item.count}};
    }
    for (MatchRecord record : of_class.detections) {
      if (!sees[record.image]) continue;
      MatchTable& table = tables[record.image];
      record.image = 0;
      table.classes.back().detections.push_back(record);
    }
    for (const auto& item : of_class.positives) sees[item.image] = false;
  }
  return tables;
}

void score_images(const MatchTable& matches, Fidelity& result) {
  const std::vector<MatchTable> tables = split_by_image(matches);
  const std::vector<uint32_t> once{1};
  double sum = 0;
  for (size_t i = 0; i < tables.size(); ++i) {
    if (tables[i].classes.empty()) {
      ++result.images_without_reference;
      continue;
    }
    const WeightedMap map = weighted_map(tables[i], once).value();
    result.images[i].figures.fidelity = map.map_50_95;
    result.images[i].figures.fidelity_50 = map.map_50;
    sum += map.map_50_95;
  }
  const int64_t defined = result.num_images - result.images_without_reference;
  if (defined > 0) result.image_mean = sum / static_cast<double>(defined);
}

template <typename Item>
void sort_worst_first(std::vector<Item>& items) {
  std::ranges::stable_sort(items, {}, [](const Item& item) {
    const FidelityFigures& f = item.figures;
    const bool undefined = f.fidelity < 0;
    return std::tuple(undefined, undefined ? 0 : f.fidelity, -(f.missed + f.extra));
  });
}

}  // namespace

Fidelity measure_fidelity(std::span<const CocoDetection> reference,
                          std::span<const CocoDetection> candidate,
                          std::span<const CocoCategory> categories,
                          std::span<const int64_t> image_ids, const FidelityOptions& options) {
  const CocoDataset frame = make_frame(categories, image_ids);
  const CocoDataset dataset =
      CocoDataset::make({frame.categories().begin(), frame.categories().end()},
                        {frame.images().begin(), frame.images().end()},
                        annotate(usable(reference, frame), frame, options.reference_score));
  const CocoResult coco = evaluate_coco(dataset, image_ids, usable(candidate, frame),
                                        {.threads = options.threads, .keep_matches = true});
  Fidelity result;
  result.num_images = coco.num_images;
  result.figures.fidelity = coco.figures.ap;
  result.figures.fidelity_50 = coco.figures.ap50;
  for (const ClassFigures& item : coco.classes) {
    result.classes.push_back({item.category_id,
                              item.name,
                              {.fidelity = item.figures.ap, .fidelity_50 = item.figures.ap50}});
  }
  for (const int64_t id : coco.matches.image_ids) result.images.push_back({id, {}});
  count_boxes(coco.matches, options.reference_score, result);
  score_images(coco.matches, result);
  if (options.resamples > 0 && result.figures.reference_boxes > 0) {
    result.intervals = bootstrap(coco.matches, {.resamples = options.resamples,
                                                .seed = options.seed,
                                                .confidence = options.confidence,
                                                .threads = options.threads});
  }
  sort_worst_first(result.classes);
  sort_worst_first(result.images);
  return result;
}

Fidelity measure_fidelity(std::span<const std::vector<Detection>> reference,
                          std::span<const std::vector<Detection>> candidate,
                          std::span<const std::string> class_names,
                          const FidelityOptions& options) {
  if (reference.size() != candidate.size()) {
    fail("detections of {} images cannot be compared with those of {}", candidate.size(),
         reference.size());
  }
  const auto to_coco = [&](std::span<const std::vector<Detection>> images) {
    std::vector<CocoDetection> detections;
    for (size_t i = 0; i < images.size(); ++i) {
      for (const Detection& d : images[i]) {
        if (d.class_id < 0 || static_cast<size_t>(d.class_id) >= class_names.size()) {
          fail("a detection of class {}, where there are {} classes", d.class_id,
               class_names.size());
        }
        detections.push_back({static_cast<int64_t>(i), d.class_id, d.x1, d.y1,
                              double{d.x2} - double{d.x1}, double{d.y2} - double{d.y1}, d.score});
      }
    }
    return detections;
  };
  std::vector<int64_t> ids(reference.size());
  std::iota(ids.begin(), ids.end(), 0);
  return measure_fidelity(to_coco(reference), to_coco(candidate), class_categories(class_names),
                          ids, options);
}

std::vector<CocoCategory> class_categories(std::span<const std::string> class_names) {
  std::vector<CocoCategory> categories;
  for (const std::string& name : class_names) {
    categories.push_back({static_cast<int64_t>(categories.size()), name});
  }
  return categories;
}

}  // namespace yoloquant::eval

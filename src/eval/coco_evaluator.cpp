#include "eval/coco_evaluator.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <numeric>

#include "base/error.h"
#include "base/parallel.h"
#include "eval/box_matching.h"
#include "eval/coco_thresholds.h"

namespace yoloquant::eval {
namespace {

using data::CocoAnnotation;
using data::CocoDataset;

// Precision and recall of one class, -1 where there is no ground truth.
struct ClassCurves {
  std::array<std::array<double, kIouThresholds>, kAreas> precision{};  // mean over recall
  std::array<std::array<double, kIouThresholds>, kAreas> recall{};     // at 100 detections
  std::array<std::array<double, kIouThresholds>, 2> recall_few{};      // at 1 and 10, all areas
};

// Indices of the detections, by category and then image; the given order within. Two passes of
// counting sort.
struct Grouping {
  std::vector<uint32_t> order;
  std::vector<uint32_t> image;            // evaluated image of order[i]
  std::vector<size_t> first_of_category;  // one more at the end
};

constexpr uint32_t kNone = UINT32_MAX;

class ImageSubset {
 public:
  ImageSubset(const CocoDataset& dataset, std::span<const int64_t> ids)
      : dataset_(dataset), evaluated_(dataset.images().size(), kNone) {
    for (const int64_t id : dataset.checked_image_ids({ids.begin(), ids.end()})) {
      const auto index = static_cast<size_t>(dataset.image_index(id));
      evaluated_[index] = static_cast<uint32_t>(dataset_index_.size());
      dataset_index_.push_back(index);
    }
  }

  size_t size() const { return dataset_index_.size(); }
  // Index among the data set's images.
  size_t dataset_index(size_t evaluated) const { return dataset_index_[evaluated]; }
  // Index among the evaluated images by the index in the data set, kNone when left out.
  uint32_t evaluated(size_t dataset_index) const { return evaluated_[dataset_index]; }

 private:
  const CocoDataset& dataset_;
  std::vector<uint32_t> evaluated_;
  std::vector<size_t> dataset_index_;
};

void check_finite(const CocoDetection& d) {
  if (!std::isfinite(d.score) || !std::isfinite(d.x) || !std::isfinite(d.y) ||
      !std::isfinite(d.width) || !std::isfinite(d.height)) {
    fail("a detection on image {} has a score or box that is not finite", d.image_id);
  }
}

// Evaluated image of each detection, kNone for those that do not count.
std::vector<uint32_t> detection_images(const CocoDataset& dataset, const ImageSubset& subset,
                                       std::span<const CocoDetection> detections) {
  std::vector<uint32_t> images(detections.size());
  int64_t last_id = 0;
  int64_t last_index = -1;
  for (size_t i = 0; i < detections.size(); ++i) {
    check_finite(detections[i]);
    if (last_index < 0 || detections[i].image_id != last_id) {  // they mostly come by image
      last_id = detections[i].image_id;
      last_index = dataset.image_index(last_id);
      if (last_index < 0) {
        fail("a detection is on image {}, which is not in {}", last_id,
             dataset.annotation_file().string());
      }
    }
    images[i] = subset.evaluated(static_cast<size_t>(last_index));
  }
  return images;
}

Grouping group_detections(const CocoDataset& dataset, const ImageSubset& subset,
                          std::span<const CocoDetection> detections) {
  const std::vector<uint32_t> images = detection_images(dataset, subset, detections);
  std::vector<int32_t> categories(detections.size());
  std::vector<size_t> first_of_image(subset.size() + 1);
  std::vector<size_t> first_of_category(dataset.categories().size() + 1);
  for (size_t i = 0; i < detections.size(); ++i) {
    categories[i] = images[i] == kNone
                        ? -1
                        : static_cast<int32_t>(dataset.category_index(detections[i].category_id));
    if (categories[i] < 0) continue;
    ++first_of_image[images[i] + 1];
    ++first_of_category[static_cast<size_t>(categories[i]) + 1];
  }
  std::partial_sum(first_of_image.begin(), first_of_image.end(), first_of_image.begin());
  std::partial_sum(first_of_category.begin(), first_of_category.end(), first_of_category.begin());

  std::vector<uint32_t> by_image(first_of_image.back());
  for (size_t i = 0; i < detections.size(); ++i) {
    if (categories[i] >= 0) by_image[first_of_image[images[i]]++] = static_cast<uint32_t>(i);
  }
  Grouping grouping;
  grouping.order.resize(by_image.size());
  grouping.image.resize(by_image.size());
  std::vector<size_t> next(first_of_category.begin(), first_of_category.end() - 1);
  for (const uint32_t i : by_image) {
    const size_t slot = next[static_cast<size_t>(categories[i])]++;
    grouping.order[slot] = i;
    grouping.image[slot] = images[i];
  }
  grouping.first_of_category = std::move(first_of_category);
  return grouping;
}

// A ground truth with its evaluated image.
struct GroundTruth {
  uint32_t image;
  const CocoAnnotation* annotation;
};

// By category, then image, then the file's order.
std::vector<std::vector<GroundTruth>> group_ground_truths(const CocoDataset& dataset,
                                                          const ImageSubset& subset) {
  std::vector<std::vector<GroundTruth>> groups(dataset.categories().size());
  for (size_t image = 0; image < subset.size(); ++image) {
    for (const CocoAnnotation& annotation : dataset.annotations_of(subset.dataset_index(image))) {
      groups[static_cast<size_t>(annotation.category)].push_back(
          {static_cast<uint32_t>(image), &annotation});
    }
  }
  return groups;
}

using Positives = std::array<int64_t, kAreas>;

Positives count_positives(std::span<const GroundTruth> ground_truths) {
  Positives positives{};
  for (const GroundTruth& item : ground_truths) {
    for (size_t area = 0; area < kAreas; ++area) {
      positives[area] +=
          !item.annotation->is_crowd && kAreaRanges[area].contains(item.annotation->area);
    }
  }
  return positives;
}

std::vector<MatchedDetection> match_category(std::span<const CocoDetection> detections,
                                             std::span<const uint32_t> order,
                                             std::span<const uint32_t> images,
                                             std::span<const GroundTruth> ground_truths) {
  BoxMatcher matcher;
  std::vector<MatchedDetection> matched;
  matched.reserve(order.size());
  std::vector<const CocoAnnotation*> of_image;
  size_t next = 0;
  for (size_t begin = 0; begin < order.size();) {
    const uint32_t image = images[begin];
    size_t end = begin;
    while (end < order.size() && images[end] == image) ++end;
    while (next < ground_truths.size() && ground_truths[next].image < image) ++next;
    of_image.clear();
    for (; next < ground_truths.size() && ground_truths[next].image == image; ++next) {
      of_image.push_back(ground_truths[next].annotation);
    }
    matcher.match(detections, order.subspan(begin, end - begin), of_image, image, &matched);
    begin = end;
  }
  std::ranges::stable_sort(matched, [](const MatchedDetection& a, const MatchedDetection& b) {
    return a.score > b.score;
  });
  return matched;
}

// COCOeval.accumulate for one category and area range. Precision peaks at true positives, so only
// these are kept.
void accumulate_area(std::span<const MatchedDetection> detections, size_t area, int64_t positives,
                     ClassCurves* curves) {
  curves->precision[area].fill(-1);
  curves->recall[area].fill(-1);
  if (positives == 0) return;
  std::array<std::vector<double>, kIouThresholds> precision;
  std::array<std::vector<double>, kIouThresholds> count;
  std::array<double, kIouThresholds> false_positives{};
  double common_false_positives = 0;  // at every threshold: by far the most
  for (const MatchedDetection& detection : detections) {
    if (detection.false_positive[area] == kAllThresholds) {
      ++common_false_positives;
      continue;
    }
    for (uint32_t mask = detection.false_positive[area]; mask != 0; mask &= mask - 1) {
      ++false_positives[static_cast<size_t>(std::countr_zero(mask))];
    }
    for (uint32_t mask = detection.true_positive[area]; mask != 0; mask &= mask - 1) {
      const auto t = static_cast<size_t>(std::countr_zero(mask));
      const double tp = static_cast<double>(count[t].size()) + 1;
      const double fp = false_positives[t] + common_false_positives;
      count[t].push_back(tp);
      precision[t].push_back(tp / (fp + tp + kSpacing));
    }
  }
  for (size_t t = 0; t < kIouThresholds; ++t) {
    const auto total = static_cast<double>(positives);
    curves->precision[area][t] = average_precision(precision[t], count[t], total);
    curves->recall[area][t] = static_cast<double>(count[t].size()) / total;
  }
}

void accumulate_few(std::span<const MatchedDetection> detections, int64_t positives,
                    ClassCurves* curves) {
  constexpr std::array<size_t, 2> kFew{1, 10};
  for (size_t few = 0; few < kFew.size(); ++few) {
    curves->recall_few[few].fill(positives == 0 ? -1 : 0);
    if (positives == 0) continue;
    std::array<int64_t, kIouThresholds> found{};
    for (const MatchedDetection& detection : detections) {
      if (detection.rank >= kFew[few]) continue;
      for (size_t t = 0; t < kIouThresholds; ++t) found[t] += detection.true_positive[0] >> t & 1;
    }
    for (size_t t = 0; t < kIouThresholds; ++t) {
      curves->recall_few[few][t] = static_cast<double>(found[t]) / static_cast<double>(positives);
    }
  }
}

ClassMatches keep_matches(std::span<const MatchedDetection> detections,
                          std::span<const GroundTruth> ground_truths) {
  ClassMatches matches;
  matches.detections.reserve(detections.size());
  for (const MatchedDetection& detection : detections) {
    matches.detections.push_back({detection.image, detection.true_positive[0],
                                  detection.false_positive[0],
                                  static_cast<float>(detection.score)});
  }
  for (const GroundTruth& item : ground_truths) {
    if (item.annotation->is_crowd || !kAreaRanges[0].contains(item.annotation->area)) continue;
    if (matches.positives.empty() || matches.positives.back().image != item.image) {
      matches.positives.push_back({item.image, 0});
    }
    ++matches.positives.back().count;
  }
  return matches;
}

// Mean of all values that are defined, over classes and thresholds.
class DefinedMean {
 public:
  void add(std::span<const double> values) {
    for (const double value : values) {
      if (value <= -1) continue;
      sum_ += value;
      ++count_;
    }
  }
  double value() const { return count_ == 0 ? -1 : sum_ / static_cast<double>(count_); }

 private:
  double sum_ = 0;
  int64_t count_ = 0;
};

CocoFigures summarize(std::span<const ClassCurves> classes) {
  const auto mean = [&](auto&& values_of) {
    DefinedMean result;
    for (const ClassCurves& curves : classes) result.add(values_of(curves));
    return result.value();
  };
  using Values = std::span<const double>;
  const auto precision = [&](size_t area) {
    return mean([area](const ClassCurves& c) { return Values(c.precision[area]); });
  };
  const auto precision_at = [&](size_t t) {
    return mean([t](const ClassCurves& c) { return Values(c.precision[0]).subspan(t, 1); });
  };
  const auto recall = [&](size_t area) {
    return mean([area](const ClassCurves& c) { return Values(c.recall[area]); });
  };
  const auto recall_few = [&](size_t few) {
    return mean([few](const ClassCurves& c) { return Values(c.recall_few[few]); });
  };
  return {precision(0),  precision_at(0), precision_at(5), precision(1), precision(2), precision(3),
          recall_few(0), recall_few(1),   recall(0),       recall(1),    recall(2),    recall(3)};
}

}  // namespace

double average_precision(std::span<const double> precision, std::span<const double> recall_count,
                         double positives) {
  double sum = 0;
  double best = 0;
  size_t point = precision.size();
  // From the right, so that `best` is the envelope at the first point that reaches the threshold.
  for (size_t r = kRecallThresholds; r-- > 0;) {
    while (point > 0 && recall_count[point - 1] / positives >= kRecall[r]) {
      --point;
      best = std::max(best, precision[point]);
    }
    sum += best;
  }
  return sum / kRecallThresholds;
}

CocoResult evaluate_coco(const CocoDataset& dataset, std::span<const int64_t> image_ids,
                         std::span<const CocoDetection> detections, const CocoOptions& options) {
  if (detections.size() >= kNone) fail("{} detections are too many", detections.size());
  const ImageSubset subset(dataset, image_ids);
  const Grouping grouping = group_detections(dataset, subset, detections);
  const auto ground_truths = group_ground_truths(dataset, subset);
  const size_t num_classes = dataset.categories().size();

  CocoResult result;
  result.num_images = static_cast<int64_t>(subset.size());
  result.num_detections = static_cast<int64_t>(grouping.order.size());
  result.classes.resize(num_classes);
  if (options.keep_matches) {
    result.matches.classes.resize(num_classes);
    for (size_t i = 0; i < subset.size(); ++i) {
      result.matches.image_ids.push_back(dataset.images()[subset.dataset_index(i)].id);
    }
  }
  std::vector<ClassCurves> curves(num_classes);
  parallel_for(num_classes, options.threads, [&](size_t k) {
    const size_t first = grouping.first_of_category[k];
    const size_t size = grouping.first_of_category[k + 1] - first;
    const auto matched =
        match_category(detections, std::span(grouping.order).subspan(first, size),
                       std::span(grouping.image).subspan(first, size), ground_truths[k]);
    const Positives positives = count_positives(ground_truths[k]);
    for (size_t area = 0; area < kAreas; ++area) {
      accumulate_area(matched, area, positives[area], &curves[k]);
    }
    accumulate_few(matched, positives[0], &curves[k]);
    result.classes[k] = {dataset.categories()[k].id, dataset.categories()[k].name, positives[0],
                         static_cast<int64_t>(size), summarize({&curves[k], 1})};
    if (options.keep_matches) {
      result.matches.classes[k] = keep_matches(matched, ground_truths[k]);
    }
  });
  result.figures = summarize(curves);
  return result;
}

}  // namespace yoloquant::eval

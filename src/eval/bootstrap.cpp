#include "eval/bootstrap.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <optional>

#include "base/error.h"
#include "base/parallel.h"
#include "base/random.h"
#include "eval/coco_thresholds.h"

namespace yoloquant::eval {
namespace {

// One category, prepared for many passes: the few detections that differ between thresholds or are
// right are "events"; between them lie runs of plain false positives, of which only the images
// matter. What follows the last true positive cannot change precision and is dropped.
class PreparedClass {
 public:
  explicit PreparedClass(const ClassMatches& matches) : positives_(matches.positives) {
    size_t end = matches.detections.size();
    while (end > 0 && matches.detections[end - 1].true_positive == 0) --end;
    for (size_t i = 0; i < end; ++i) {
      const MatchRecord& record = matches.detections[i];
      if (record.true_positive == 0 && record.false_positive == kAllThresholds) {
        false_positives_.push_back(record.image);
      } else if (record.true_positive != 0 || record.false_positive != 0) {
        events_.push_back({static_cast<uint32_t>(false_positives_.size()), record.image,
                           record.true_positive, record.false_positive});
      }
    }
  }

  struct Workspace {
    std::array<std::vector<double>, kIouThresholds> precision;
    std::array<std::vector<double>, kIouThresholds> count;
  };

  // Average precision per threshold with image i counted weights[i] times; false when no ground
  // truth is drawn.
  bool evaluate(std::span<const uint32_t> weights, Workspace& work,
                std::array<double, kIouThresholds>* average) const {
    uint64_t positives = 0;
    for (const auto& item : positives_) positives += uint64_t{weights[item.image]} * item.count;
    if (positives == 0) return false;
    std::array<double, kIouThresholds> tp{};
    std::array<double, kIouThresholds> fp{};
    for (size_t t = 0; t < kIouThresholds; ++t) {
      work.precision[t].clear();
      work.count[t].clear();
    }
    uint64_t common = 0;
    size_t next = 0;
    for (const Event& event : events_) {
      for (; next < event.false_positives_before; ++next) common += weights[false_positives_[next]];
      const double weight = weights[event.image];
      if (weight == 0) continue;
      for (uint32_t mask = event.false_positive; mask != 0; mask &= mask - 1) {
        fp[static_cast<size_t>(std::countr_zero(mask))] += weight;
      }
      for (uint32_t mask = event.true_positive; mask != 0; mask &= mask - 1) {
        const auto t = static_cast<size_t>(std::countr_zero(mask));
        tp[t] += weight;
        work.count[t].push_back(tp[t]);
        work.precision[t].push_back(tp[t] /
                                    (fp[t] + static_cast<double>(common) + tp[t] + kSpacing));
      }
    }
    for (size_t t = 0; t < kIouThresholds; ++t) {
      (*average)[t] =
          average_precision(work.precision[t], work.count[t], static_cast<double>(positives));
    }
    return true;
  }

 private:
  struct Event {
    uint32_t false_positives_before;
    uint32_t image;
    uint16_t true_positive;
    uint16_t false_positive;
  };

  std::vector<ClassMatches::Positives> positives_;
  std::vector<uint32_t> false_positives_;  // images of plain false positives, by falling score
  std::vector<Event> events_;
};

class PreparedTable {
 public:
  explicit PreparedTable(const MatchTable& table) {
    if (table.image_ids.empty()) fail("nothing to resample: no image was evaluated");
    for (const ClassMatches& matches : table.classes) {
      if (!matches.positives.empty()) classes_.emplace_back(matches);
    }
    if (classes_.empty()) fail("nothing to resample: no evaluated image has ground truth");
  }

  std::optional<WeightedMap> evaluate(std::span<const uint32_t> weights,
                                      PreparedClass::Workspace& work) const {
    WeightedMap sum;
    int64_t count = 0;
    for (const PreparedClass& prepared : classes_) {
      std::array<double, kIouThresholds> average{};
      if (!prepared.evaluate(weights, work, &average)) continue;
      for (const double value : average) sum.map_50_95 += value;
      sum.map_50 += average[0];
      ++count;
    }
    if (count == 0) return std::nullopt;
    const auto n = static_cast<double>(count);
    return WeightedMap{sum.map_50_95 / (n * kIouThresholds), sum.map_50 / n};
  }

 private:
  std::vector<PreparedClass> classes_;
};

// How often each image is drawn.
void draw(Random& random, std::vector<uint32_t>& weights) {
  std::ranges::fill(weights, 0);
  for (size_t i = 0; i < weights.size(); ++i) ++weights[random.below(weights.size())];
}

double quantile(const std::vector<double>& sorted, double q) {
  const double position = q * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<size_t>(position);
  const size_t above = std::min(below + 1, sorted.size() - 1);
  return std::lerp(sorted[below], sorted[above], position - static_cast<double>(below));
}

Interval make_interval(double estimate, std::vector<double> values, double confidence) {
  double mean = 0;
  for (const double value : values) mean += value;
  mean /= static_cast<double>(values.size());
  double variance = 0;
  for (const double value : values) variance += (value - mean) * (value - mean);
  if (values.size() > 1) variance /= static_cast<double>(values.size() - 1);
  std::ranges::sort(values);
  return {estimate, quantile(values, (1 - confidence) / 2), quantile(values, (1 + confidence) / 2),
          std::sqrt(variance)};
}

// `figures_of` maps weights to figures, or nothing for a draw without ground truth.
template <typename FiguresOf>
BootstrapIntervals resample(size_t images, const BootstrapOptions& options,
                            const FiguresOf& figures_of) {
  if (options.resamples < 1) fail_usage("{} resamples: at least 1 is needed", options.resamples);
  if (!(options.confidence > 0 && options.confidence < 1)) {
    fail_usage("confidence {} must lie between 0 and 1", options.confidence);
  }
  const auto count = static_cast<size_t>(options.resamples);
  std::vector<double> map_50_95(count);
  std::vector<double> map_50(count);
  parallel_for_blocks(count, options.threads, [&](size_t begin, size_t end) {
    PreparedClass::Workspace work;
    std::vector<uint32_t> weights(images);
    for (size_t i = begin; i < end; ++i) {
      // A stream of its own for each resample: the same for any number of threads.
      Random random(splitmix64_mix(options.seed) + splitmix64_mix(i + 1));
      std::optional<WeightedMap> figures;
      while (!figures) {
        draw(random, weights);
        figures = figures_of(weights, work);
      }
      map_50_95[i] = figures->map_50_95;
      map_50[i] = figures->map_50;
    }
  });
  PreparedClass::Workspace work;
  const std::vector<uint32_t> once(images, 1);
  const WeightedMap estimate = figures_of(once, work).value();
  return {make_interval(estimate.map_50_95, std::move(map_50_95), options.confidence),
          make_interval(estimate.map_50, std::move(map_50), options.confidence)};
}

bool same_positives(const ClassMatches& a, const ClassMatches& b) {
  return std::ranges::equal(a.positives, b.positives, [](const auto& x, const auto& y) {
    return x.image == y.image && x.count == y.count;
  });
}

}  // namespace

std::optional<WeightedMap> weighted_map(const MatchTable& matches,
                                        std::span<const uint32_t> weights) {
  if (weights.size() != matches.image_ids.size()) {
    fail("{} weights for {} images", weights.size(), matches.image_ids.size());
  }
  PreparedClass::Workspace work;
  return PreparedTable(matches).evaluate(weights, work);
}

BootstrapIntervals bootstrap(const MatchTable& matches, const BootstrapOptions& options) {
  const PreparedTable table(matches);
  return resample(matches.image_ids.size(), options,
                  [&](std::span<const uint32_t> weights, PreparedClass::Workspace& work) {
                    return table.evaluate(weights, work);
                  });
}

BootstrapIntervals bootstrap_difference(const MatchTable& a, const MatchTable& b,
                                        const BootstrapOptions& options) {
  if (a.image_ids != b.image_ids || !std::ranges::equal(a.classes, b.classes, same_positives)) {
    fail("two evaluations can only be compared on the same images and ground truth");
  }
  const PreparedTable table_a(a);
  const PreparedTable table_b(b);
  return resample(a.image_ids.size(), options,
                  [&](std::span<const uint32_t> weights,
                      PreparedClass::Workspace& work) -> std::optional<WeightedMap> {
                    const auto figures_a = table_a.evaluate(weights, work);
                    const auto figures_b = table_b.evaluate(weights, work);
                    if (!figures_a || !figures_b) return std::nullopt;
                    return WeightedMap{figures_b->map_50_95 - figures_a->map_50_95,
                                       figures_b->map_50 - figures_a->map_50};
                  });
}

}  // namespace yoloquant::eval

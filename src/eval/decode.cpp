#include "eval/decode.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "eval/nms.h"

namespace yoloquant::eval {
namespace {

void check_options(const DecodeOptions& options) {
  if (!(options.conf >= 0 && options.conf <= 1) || !(options.iou >= 0 && options.iou <= 1)) {
    fail_usage("conf {} and iou {} must lie in 0..1", options.conf, options.iou);
  }
  if (options.max_det <= 0 || options.pre_nms_topk <= 0) {
    fail_usage("max_det {} and pre_nms_topk {} must be positive", options.max_det,
               options.pre_nms_topk);
  }
}

// A raw head output, [4 + classes, anchors].
struct RawHead {
  std::span<const float> values;
  size_t classes;
  size_t anchors;

  RawHead(std::span<const float> raw, int64_t num_classes) : values(raw) {
    if (num_classes <= 0 || num_classes > std::numeric_limits<int32_t>::max()) {
      fail("{} classes cannot be decoded", num_classes);
    }
    classes = static_cast<size_t>(num_classes);
    const size_t rows = classes + 4;
    if (raw.size() % rows != 0) {
      fail("the head's output has {} values, which is no multiple of {} rows", raw.size(), rows);
    }
    anchors = raw.size() / rows;
    if (anchors > std::numeric_limits<uint32_t>::max() / classes) {
      fail("{} anchors of {} classes are too many", anchors, classes);
    }
  }

  const float* row(size_t index) const { return values.data() + index * anchors; }
  const float* scores(size_t c) const { return row(4 + c); }

  Detection detection(size_t anchor, size_t c, float score) const {
    const float x = row(0)[anchor];
    const float y = row(1)[anchor];
    const float half_width = row(2)[anchor] / 2;
    const float half_height = row(3)[anchor] / 2;
    return {x - half_width,  y - half_height, x + half_width,
            y + half_height, score,           static_cast<int32_t>(c)};
  }
};

// Sorts by falling score, then rising index. REQUIRES: score >= 0, as its bits then sort like it.
uint64_t sort_key(float score, size_t index) {
  const uint32_t bits = std::bit_cast<uint32_t>(score + 0.0F);  // -0 becomes 0
  return static_cast<uint64_t>(~bits) << 32 | static_cast<uint32_t>(index);
}

// Candidates above the threshold; the index is anchor * classes + class.
std::vector<uint64_t> find_candidates(const RawHead& head, float conf) {
  std::vector<uint64_t> candidates;
  constexpr size_t kBlock = 64;
  for (size_t c = 0; c < head.classes; ++c) {
    const float* const scores = head.scores(c);
    for (size_t begin = 0; begin < head.anchors; begin += kBlock) {
      const size_t end = std::min(begin + kBlock, head.anchors);
      bool any = false;  // nearly always false: a branch a block, the comparison is vectorized
      for (size_t a = begin; a < end; ++a) any |= scores[a] > conf;
      if (!any) continue;
      for (size_t a = begin; a < end; ++a) {
        if (scores[a] > conf) candidates.push_back(sort_key(scores[a], a * head.classes + c));
      }
    }
  }
  return candidates;
}

}  // namespace

std::vector<Detection> decode_one2many(std::span<const float> raw, int64_t num_classes,
                                       const DecodeOptions& options) {
  check_options(options);
  const RawHead head(raw, num_classes);
  std::vector<uint64_t> candidates = find_candidates(head, options.conf);
  const auto by_count = [](size_t count) { return static_cast<std::ptrdiff_t>(count); };
  const size_t count = std::min(candidates.size(), static_cast<size_t>(options.pre_nms_topk));
  if (count < candidates.size()) {
    std::nth_element(candidates.begin(), candidates.begin() + by_count(count), candidates.end());
    candidates.resize(count);
  }
  Nms nms(head.classes, options.iou, static_cast<size_t>(options.max_det));
  // Sorted piece by piece: NMS mostly has enough long before the end.
  size_t piece = 4 * std::min<size_t>(static_cast<size_t>(options.max_det), 4096);
  for (size_t begin = 0; begin < count && !nms.full(); piece *= 2) {
    const size_t end = piece < count - begin ? begin + piece : count;
    const auto first = candidates.begin() + by_count(begin);
    const auto last = candidates.begin() + by_count(end);
    if (end < count) std::nth_element(first, last, candidates.end());
    std::sort(first, last);
    for (size_t i = begin; i < end && !nms.full(); ++i) {
      const auto index = static_cast<uint32_t>(candidates[i]);
      const size_t anchor = index / head.classes;
      const size_t c = index % head.classes;
      nms.add(head.detection(anchor, c, head.scores(c)[anchor]));
    }
    begin = end;
  }
  return nms.take();
}

std::vector<Detection> decode_rows(std::span<const float> rows, int64_t num_classes,
                                   const DecodeOptions& options) {
  if (num_classes <= 0 || num_classes > std::numeric_limits<int32_t>::max()) {
    fail("{} classes cannot be decoded", num_classes);
  }
  const auto columns = static_cast<size_t>(num_classes) + 5;
  if (rows.size() % columns != 0) {
    fail("the head's output has {} values, which is no multiple of {} columns", rows.size(),
         columns);
  }
  const size_t boxes = rows.size() / columns;
  std::vector<float> raw((columns - 1) * boxes);
  for (size_t i = 0; i < boxes; ++i) {
    const float* const row = rows.data() + i * columns;
    for (size_t k = 0; k < 4; ++k) raw[k * boxes + i] = row[k];
    for (size_t k = 4; k + 1 < columns; ++k) raw[k * boxes + i] = row[4] * row[k + 1];
  }
  return decode_one2many(raw, num_classes, options);
}

std::vector<Detection> decode_one2one(std::span<const float> raw, int64_t num_classes,
                                      const DecodeOptions& options) {
  check_options(options);
  const RawHead head(raw, num_classes);
  std::vector<float> best(head.anchors, 0.0F);
  for (size_t c = 0; c < head.classes; ++c) {
    const float* const scores = head.scores(c);
    for (size_t a = 0; a < head.anchors; ++a) best[a] = scores[a] > best[a] ? scores[a] : best[a];
  }
  const auto keep_best = [&](std::vector<uint64_t>& keys) {
    const size_t count = std::min(keys.size(), static_cast<size_t>(options.max_det));
    std::partial_sort(keys.begin(), keys.begin() + static_cast<std::ptrdiff_t>(count), keys.end());
    keys.resize(count);
  };
  std::vector<uint64_t> anchors(head.anchors);
  for (size_t a = 0; a < head.anchors; ++a) anchors[a] = sort_key(best[a], a);
  keep_best(anchors);

  std::vector<uint64_t> pairs;  // index: rank of the anchor * classes + class
  for (size_t rank = 0; rank < anchors.size(); ++rank) {
    const size_t anchor = static_cast<uint32_t>(anchors[rank]);
    for (size_t c = 0; c < head.classes; ++c) {
      const float score = head.scores(c)[anchor];
      if (score > options.conf) pairs.push_back(sort_key(score, rank * head.classes + c));
    }
  }
  keep_best(pairs);

  std::vector<Detection> detections;
  detections.reserve(pairs.size());
  for (const uint64_t key : pairs) {
    const auto index = static_cast<uint32_t>(key);
    const size_t anchor = static_cast<uint32_t>(anchors[index / head.classes]);
    const size_t c = index % head.classes;
    detections.push_back(head.detection(anchor, c, head.scores(c)[anchor]));
  }
  return detections;
}

std::vector<Detection> decode_end2end(std::span<const float> rows, int64_t num_classes,
                                      const DecodeOptions& options) {
  check_options(options);
  if (rows.size() % 6 != 0) {
    fail("the end-to-end output has {} values, which is no multiple of 6", rows.size());
  }
  std::vector<Detection> detections;
  for (size_t i = 0; i < rows.size(); i += 6) {
    const float* const row = rows.data() + i;
    if (!(row[4] > options.conf)) continue;
    const float c = std::nearbyint(row[5]);
    if (!(c >= 0 && c < static_cast<float>(num_classes))) {
      fail("end-to-end output row {}: class {} is not in 0..{}", i / 6, row[5], num_classes - 1);
    }
    detections.push_back({row[0], row[1], row[2], row[3], row[4], static_cast<int32_t>(c)});
  }
  std::ranges::stable_sort(detections, std::ranges::greater{}, &Detection::score);
  if (detections.size() > static_cast<size_t>(options.max_det)) {
    detections.resize(static_cast<size_t>(options.max_det));
  }
  return detections;
}

void append_coco_detections(std::span<const Detection> detections, const data::Letterbox& letterbox,
                            int64_t image_id, std::span<const data::CocoCategory> categories,
                            std::vector<CocoDetection>* out) {
  for (const Detection& d : detections) {
    if (d.class_id < 0 || static_cast<size_t>(d.class_id) >= categories.size()) {
      fail("the model predicts class {}, but the data set has {} categories", d.class_id,
           categories.size());
    }
    const data::Box box = letterbox.to_image({d.x1, d.y1, d.x2, d.y2});
    out->push_back({image_id, static_cast<int32_t>(categories[static_cast<size_t>(d.class_id)].id),
                    box.x1, box.y1, box.width(), box.height(), d.score});
  }
}

}  // namespace yoloquant::eval

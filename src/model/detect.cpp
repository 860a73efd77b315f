#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "model/builder.h"

namespace yoloquant::model {

using graph::ActivationKind;
using graph::ElementwiseKind;
using graph::Reshape;

namespace {

constexpr int64_t kRegMax = 16;  // bins of the distribution of each box side

// Raw logits of all levels, joined along the anchor points: boxes [N, 64, A], classes [N, C, A].
struct Logits {
  ValueId boxes;
  ValueId classes;
};

Logits add_branches(Builder& b, const std::string& name, const std::string& prefix,
                    const std::vector<ValueId>& features, int64_t class_count) {
  const int64_t first = b.channels(features[0]);
  const int64_t box_channels = std::max({int64_t{16}, first / 4, 4 * kRegMax});
  const int64_t class_channels = std::max(first, std::min<int64_t>(class_count, 100));
  std::vector<ValueId> boxes;
  std::vector<ValueId> classes;
  for (size_t level = 0; level < features.size(); ++level) {
    const std::string box = fmt::format("{}.{}cv2.{}", name, prefix, level);
    ValueId y = b.conv_block(box + ".0", features[level], {.out = box_channels, .kernel = 3});
    y = b.conv_block(box + ".1", y, {.out = box_channels, .kernel = 3});
    y = b.conv(box + ".2", y, {.out = 4 * kRegMax}, /*bias=*/true);
    boxes.push_back(
        b.reshape(box + ".flat", y, {Reshape::kSameAsInput, 4 * kRegMax, -1}, 4 * kRegMax));

    const std::string cls = fmt::format("{}.{}cv3.{}", name, prefix, level);
    const int64_t c = b.channels(features[level]);
    y = b.conv_block(cls + ".0.0", features[level], {.out = c, .kernel = 3, .groups = c});
    y = b.conv_block(cls + ".0.1", y, {.out = class_channels});
    y = b.conv_block(cls + ".1.0", y,
                     {.out = class_channels, .kernel = 3, .groups = class_channels});
    y = b.conv_block(cls + ".1.1", y, {.out = class_channels});
    y = b.conv(cls + ".2", y, {.out = class_count}, /*bias=*/true);
    classes.push_back(
        b.reshape(cls + ".flat", y, {Reshape::kSameAsInput, class_count, -1}, class_count));
  }
  return {b.concat(name + "." + prefix + "boxes", boxes, 2),
          b.concat(name + "." + prefix + "classes", classes, 2)};
}

// DFL (expected value of each side's distribution) and dist2bbox, to cxcywh in pixels.
ValueId add_decode(Builder& b, const std::string& path, const Logits& logits, ValueId points,
                   ValueId strides) {
  ValueId y =
      b.reshape(path + "dfl.bins", logits.boxes, {Reshape::kSameAsInput, 4, kRegMax, -1}, 4);
  y = b.transpose(path + "dfl.transpose", y, {0, 2, 1, 3});
  y = b.softmax(path + "dfl.softmax", y, 1);
  y = b.note_channels(y, kRegMax);  // [N, 16, 4, A]: the bins are now the channels
  y = b.conv(path + "dfl.conv", y, {.out = 1}, /*bias=*/false);
  std::vector<float> bins(kRegMax);
  std::iota(bins.begin(), bins.end(), 0.0F);
  b.graph().parameters[path + "dfl.conv.weight"] = Tensor::from<float>({1, kRegMax, 1, 1}, bins);
  y = b.reshape(path + "dfl.distances", y, {Reshape::kSameAsInput, 4, -1}, 4);
  const std::vector<ValueId> sides = b.split(path + "dfl.sides", y, {2, 2});
  const ValueId near = b.elementwise(path + "box.near", ElementwiseKind::kSub, points, sides[0]);
  const ValueId far = b.elementwise(path + "box.far", ElementwiseKind::kAdd, points, sides[1]);
  const ValueId half = b.constant(path + "box.half", Tensor::scalar(0.5F));
  const ValueId centre =
      b.elementwise(path + "box.centre", ElementwiseKind::kMul,
                    b.elementwise(path + "box.sum", ElementwiseKind::kAdd, near, far), half);
  const ValueId size = b.elementwise(path + "box.size", ElementwiseKind::kSub, far, near);
  const ValueId cells = b.concat(path + "box.cells", {centre, size});
  const ValueId pixels = b.elementwise(path + "box.pixels", ElementwiseKind::kMul, cells, strides);
  const ValueId scores = b.activation(path + "scores", logits.classes, ActivationKind::kSigmoid);
  return b.concat(path + "output", {pixels, scores});
}

// Pixels per cell of each feature map.
std::vector<int64_t> find_strides(graph::Graph& graph, const std::vector<ValueId>& features) {
  graph::infer_shapes(graph);
  const Shape& image = graph.values[graph.inputs[0]].shape;
  std::vector<int64_t> strides;
  for (const ValueId feature : features) {
    const Shape& shape = graph.values[feature].shape;
    if (shape[2] == 0 || image[2] % shape[2] != 0 || image[2] / shape[2] != image[3] / shape[3]) {
      fail("feature map {} does not divide the image {}", shape_string(shape), shape_string(image));
    }
    strides.push_back(image[2] / shape[2]);
  }
  return strides;
}

}  // namespace

void add_v10_detect(Builder& b, const std::string& name, const std::vector<ValueId>& features,
                    int64_t class_count) {
  graph::Graph& graph = b.graph();
  graph.metadata.strides = find_strides(graph, features);
  const std::vector<ValueId> grid =
      graph.add_node(name + ".anchors", graph::AnchorGrid{graph.metadata.strides}, features, 2);
  b.note_channels(grid[0], 2);
  b.note_channels(grid[1], 1);
  const Logits many = add_branches(b, name, "", features, class_count);
  const Logits one = add_branches(b, name, "one2one_", features, class_count);
  const ValueId one2many = add_decode(b, name + ".", many, grid[0], grid[1]);
  const ValueId one2one = add_decode(b, name + ".one2one_", one, grid[0], grid[1]);
  graph.values[one2many].name = "one2many";
  graph.values[one2one].name = "one2one";
  graph.outputs = {one2many, one2one};
}

}  // namespace yoloquant::model

#include <algorithm>

#include "base/error.h"
#include "graph/graph.h"
#include "graph/types.h"
#include "graph/window.h"

namespace yoloquant::graph {

int64_t window_extent(int64_t input, int64_t padding, int64_t kernel, int64_t dilation,
                      int64_t stride) {
  if (stride <= 0 || dilation <= 0 || kernel <= 0)
    fail("kernel, stride or dilation is not positive");
  const int64_t span = input + padding - dilation * (kernel - 1) - 1;
  if (span < 0) fail("input extent {} is smaller than the kernel", input);
  return span / stride + 1;
}

namespace {

using Shapes = std::vector<Shape>;

void require_rank(const Shape& shape, size_t rank) {
  if (shape.size() != rank) fail("needs {} axes, got {}", rank, shape_string(shape));
}

size_t normalized_axis(int64_t axis, const Shape& shape) {
  const auto rank = static_cast<int64_t>(shape.size());
  if (axis < -rank || axis >= rank) fail("no axis {} in {}", axis, shape_string(shape));
  return static_cast<size_t>(axis < 0 ? axis + rank : axis);
}

Shape broadcast(const Shape& a, const Shape& b) {
  Shape result(std::max(a.size(), b.size()), 1);
  for (const Shape* shape : {&a, &b}) {
    const size_t offset = result.size() - shape->size();
    for (size_t i = 0; i < shape->size(); ++i) {
      int64_t& extent = result[offset + i];
      const int64_t own = (*shape)[i];
      if (extent != own && extent != 1 && own != 1) {
        fail("cannot broadcast {} with {}", shape_string(a), shape_string(b));
      }
      if (own != 1) extent = own;
    }
  }
  return result;
}

// Shape rules: one overload an operator; `node` and `graph` give names and parameters.
struct ShapeRule {
  const Graph& graph;
  const Node& node;
  const Shapes& in;

  Shapes operator()(const Conv& op) const {
    require_rank(in[0], 4);
    const Shape& weight = graph.parameter(node.name + ".weight").shape();
    if (weight[1] * op.groups != in[0][1]) {
      fail("weight {} in {} groups does not fit input {}", shape_string(weight), op.groups,
           shape_string(in[0]));
    }
    return {{in[0][0], weight[0],
             window_extent(in[0][2], op.padding[0] + op.padding[2], weight[2], op.dilation[0],
                           op.stride[0]),
             window_extent(in[0][3], op.padding[1] + op.padding[3], weight[3], op.dilation[1],
                           op.stride[1])}};
  }
  Shapes operator()(const BatchNorm&) const {
    require_rank(in[0], 4);
    if (graph.parameter(node.name + ".weight").dim(0) != in[0][1]) {
      fail("{} channels do not fit input {}", graph.parameter(node.name + ".weight").dim(0),
           shape_string(in[0]));
    }
    return {in[0]};
  }
  Shapes operator()(const Activation&) const { return {in[0]}; }
  Shapes operator()(const Elementwise&) const { return {broadcast(in[0], in[1])}; }
  Shapes operator()(const MaxPool& op) const {
    require_rank(in[0], 4);
    return {
        {in[0][0], in[0][1],
         window_extent(in[0][2], op.padding[0] + op.padding[2], op.kernel[0], 1, op.stride[0]),
         window_extent(in[0][3], op.padding[1] + op.padding[3], op.kernel[1], 1, op.stride[1])}};
  }
  Shapes operator()(const Upsample& op) const {
    require_rank(in[0], 4);
    return {{in[0][0], in[0][1], in[0][2] * op.factor, in[0][3] * op.factor}};
  }
  Shapes operator()(const Concat& op) const {
    const size_t axis = normalized_axis(op.axis, in[0]);
    Shape result = in[0];
    for (size_t i = 1; i < in.size(); ++i) {
      require_rank(in[i], result.size());
      for (size_t j = 0; j < result.size(); ++j) {
        if (j == axis) {
          result[j] += in[i][j];
        } else if (in[i][j] != in[0][j]) {
          fail("cannot join {} and {} along axis {}", shape_string(in[0]), shape_string(in[i]),
               axis);
        }
      }
    }
    return {result};
  }
  Shapes operator()(const Split& op) const {
    const size_t axis = normalized_axis(op.axis, in[0]);
    Shapes result;
    int64_t total = 0;
    for (const int64_t size : op.sizes) {
      result.push_back(in[0]);
      result.back()[axis] = size;
      total += size;
    }
    if (total != in[0][axis]) fail("parts add up to {}, not {}", total, in[0][axis]);
    return result;
  }
  Shapes operator()(const Reshape& op) const {
    Shape result;
    size_t inferred = op.shape.size();
    for (size_t i = 0; i < op.shape.size(); ++i) {
      int64_t extent = op.shape[i];
      if (extent == Reshape::kSameAsInput) extent = in[0].at(i);
      if (extent == Reshape::kSameAsReference) {
        if (in.size() < 2 || i >= in[1].size()) fail("no reference shape for axis {}", i);
        extent = in[1][i];
      }
      if (extent == Reshape::kInferred) {
        inferred = i;
        extent = 1;
      }
      result.push_back(extent);
    }
    if (inferred < result.size()) {
      const int64_t rest = element_count(result);
      if (rest == 0 || element_count(in[0]) % rest != 0) {
        fail("cannot reshape {}", shape_string(in[0]));
      }
      result[inferred] = element_count(in[0]) / rest;
    }
    if (element_count(result) != element_count(in[0])) {
      fail("cannot reshape {} to {}", shape_string(in[0]), shape_string(result));
    }
    return {result};
  }
  Shapes operator()(const Transpose& op) const {
    require_rank(in[0], op.permutation.size());
    Shape result;
    for (const int64_t axis : op.permutation) result.push_back(in[0].at(axis));
    return {result};
  }
  Shapes operator()(const MatMul&) const {
    const size_t left = in[0].size();
    const size_t right = in[1].size();
    if (left < 2 || right < 2) fail("needs matrices");
    if (in[0][left - 1] != in[1][right - 2]) {
      fail("cannot multiply {} and {}", shape_string(in[0]), shape_string(in[1]));
    }
    Shape result =
        broadcast(Shape(in[0].begin(), in[0].end() - 2), Shape(in[1].begin(), in[1].end() - 2));
    result.push_back(in[0][left - 2]);
    result.push_back(in[1][right - 1]);
    return {result};
  }
  Shapes operator()(const Softmax& op) const {
    normalized_axis(op.axis, in[0]);
    return {in[0]};
  }
  Shapes operator()(const Constant&) const {
    return {graph.parameter(node.name + ".value").shape()};
  }
  Shapes operator()(const Slice& op) const {
    Shape result = in[0];
    std::vector<bool> seen(result.size(), false);
    for (const Slice::Range& range : op.ranges) {
      const size_t axis = normalized_axis(range.axis, in[0]);
      if (seen[axis]) fail("axis {} is sliced twice", axis);
      seen[axis] = true;
      const int64_t end = std::min(range.end, in[0][axis]);
      if (range.start < 0 || range.start > end || range.step < 1) {
        fail("no part {}:{}:{} of axis {} of {}", range.start, range.end, range.step, axis,
             shape_string(in[0]));
      }
      const int64_t span = end - range.start;
      result[axis] = span / range.step + (span % range.step != 0 ? 1 : 0);
    }
    return {result};
  }
  Shapes operator()(const Gather& op) const {
    const size_t axis = normalized_axis(op.axis, in[0]);
    if (op.elements) {
      require_rank(in[1], in[0].size());
      for (size_t i = 0; i < in[0].size(); ++i) {
        if (i != axis && in[1][i] > in[0][i]) {
          fail("indices {} for {}", shape_string(in[1]), shape_string(in[0]));
        }
      }
      return {in[1]};
    }
    Shape result = in[0];
    const auto place = result.erase(result.begin() + static_cast<std::ptrdiff_t>(axis));
    result.insert(place, in[1].begin(), in[1].end());
    return {result};
  }
  Shapes operator()(const Reduce& op) const {
    std::vector<bool> reduced(in[0].size(), false);
    for (const int64_t axis : op.axes) {
      const size_t index = normalized_axis(axis, in[0]);
      if (reduced[index]) fail("axis {} is reduced twice", axis);
      reduced[index] = true;
    }
    Shape result;
    for (size_t i = 0; i < in[0].size(); ++i) {
      if (reduced[i] && in[0][i] == 0) fail("axis {} of {} is empty", i, shape_string(in[0]));
      if (!reduced[i] || op.keep_axes) result.push_back(reduced[i] ? 1 : in[0][i]);
    }
    return {result};
  }
  Shapes operator()(const TopK& op) const {
    const size_t axis = normalized_axis(op.axis, in[0]);
    if (op.count < 0 || op.count > in[0][axis]) {
      fail("the largest {} of {} along axis {}", op.count, shape_string(in[0]), axis);
    }
    Shape result = in[0];
    result[axis] = op.count;
    return {result, result};
  }
  Shapes operator()(const Expand& op) const { return {broadcast(in[0], op.shape)}; }
  Shapes operator()(const Tile& op) const {
    require_rank(in[0], op.repeats.size());
    Shape result = in[0];
    for (size_t i = 0; i < result.size(); ++i) {
      if (op.repeats[i] < 0 || __builtin_mul_overflow(result[i], op.repeats[i], &result[i])) {
        fail("{} repeats of {}", op.repeats[i], shape_string(in[0]));
      }
    }
    return {result};
  }
  Shapes operator()(const Cast&) const { return {in[0]}; }
  Shapes operator()(const Opaque& op) const {
    if (in != op.input_shapes) {
      fail("{} was read for inputs of other shapes: read the model at this size", op.type);
    }
    Shapes result;
    for (const auto& output : op.outputs) result.push_back(output.second);
    return result;
  }
  Shapes operator()(const AnchorGrid&) const {
    int64_t points = 0;
    for (const Shape& shape : in) {
      require_rank(shape, 4);
      points += shape[2] * shape[3];
    }
    return {{1, 2, points}, {1, 1, points}};
  }
  Shapes operator()(const SelectDetections& op) const {
    require_rank(in[0], 3);
    if (in[0][1] < 5) fail("needs boxes and at least one class, got {}", shape_string(in[0]));
    return {{in[0][0], std::min(op.max_detections, in[0][2]), 6}};
  }
};

}  // namespace

void infer_shapes(Graph& graph, size_t first_node) {
  constexpr int64_t kMaxElements = int64_t{1} << 40;  // so that no rule's sums overflow
  for (size_t index = first_node; index < graph.nodes.size(); ++index) {
    const Node& node = graph.nodes[index];
    Shapes in;
    for (const ValueId input : node.inputs) in.push_back(graph.values[input].shape);
    const Shapes out =
        with_context(node.name, [&] { return std::visit(ShapeRule{graph, node, in}, node.op); });
    const auto types = with_context(node.name, [&] { return output_types(graph, node); });
    for (size_t i = 0; i < node.outputs.size(); ++i) {
      if (element_count(out.at(i)) > kMaxElements) {
        fail("{}: result {} is too large", node.name, shape_string(out[i]));
      }
      Value& value = graph.values[node.outputs[i]];
      value.shape = out[i];
      value.dtype = types.at(i);
    }
  }
}

void set_input_shape(Graph& graph, const Shape& shape) {
  if (graph.inputs.size() != 1) fail("the model has {} inputs, not one", graph.inputs.size());
  int64_t stride = 1;
  for (const int64_t s : graph.metadata.strides) stride = std::max(stride, s);
  if (shape.size() != 4 || std::ranges::any_of(shape, [](int64_t e) { return e <= 0; }) ||
      shape[2] % stride != 0 || shape[3] % stride != 0) {
    fail_usage("input shape {}: height and width must be positive multiples of {}",
               shape_string(shape), stride);
  }
  graph.values[graph.inputs[0]].shape = shape;
  infer_shapes(graph);
}

}  // namespace yoloquant::graph

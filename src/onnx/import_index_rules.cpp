#include <algorithm>
#include <map>
#include <numeric>

#include "base/error.h"
#include "onnx/importer.h"

// Rules of the operators that move, pick and join elements. See import_rules.cpp.
namespace yoloquant::onnx {

using graph::ValueId;

namespace {

int64_t rank_of(Importer& in, int i) { return static_cast<int64_t>(in.input_shape(i).size()); }

int64_t normal_axis(int64_t axis, int64_t rank) {
  if (axis < -rank || axis >= rank) fail("no axis {} of {}", axis, rank);
  return axis < 0 ? axis + rank : axis;
}

// Axes from an input (newer opsets) or the attribute, from 0 on.
std::vector<int64_t> axes_of(Importer& in, int input, int64_t rank) {
  std::vector<int64_t> axes = in.has_input(input) ? in.integers(input) : in.integers("axes", {});
  for (int64_t& axis : axes) axis = normal_axis(axis, rank);
  return axes;
}

void import_concat(Importer& in) {
  std::vector<ValueId> inputs;
  for (int i = 0; i < in.node().input_size(); ++i) inputs.push_back(in.input(i));
  in.emit(graph::Concat{in.attribute("axis", int64_t{1})}, inputs);
}

void import_split(Importer& in) {
  graph::Split split;
  split.axis = in.attribute("axis", int64_t{0});
  split.sizes = in.has_input(1) ? in.integers(1) : in.integers("split", {});
  const auto parts = static_cast<int64_t>(in.node().output_size());
  if (split.sizes.empty()) {
    const Shape shape = in.input_shape(0);
    const auto rank = static_cast<int64_t>(shape.size());
    const int64_t axis = split.axis < 0 ? split.axis + rank : split.axis;
    require(axis >= 0 && axis < rank, "a Split of no axis");
    // An uneven split leaves less for the last part.
    const int64_t each = (shape[axis] + parts - 1) / parts;
    for (int64_t i = 0; i < parts; ++i) {
      split.sizes.push_back(std::min(each, std::max<int64_t>(shape[axis] - i * each, 0)));
    }
  }
  for (const int64_t size : split.sizes) {
    if (size < 0 || size > (int64_t{1} << 31)) fail("a part of {}", size);
  }
  if (static_cast<int64_t>(split.sizes.size()) != parts) {
    fail("{} sizes for {} outputs", split.sizes.size(), parts);
  }
  in.emit(split, {in.input(0)});
}

void import_reshape(Importer& in) {
  require(in.attribute("allowzero", int64_t{0}) == 0, "allowzero");
  const std::vector<int64_t> shape = in.integers(1);
  for (const int64_t extent : shape) {
    if (extent < -1) fail("shape {}", shape_string(shape));
  }
  in.emit(graph::Reshape{shape}, {in.input(0)});
}

void import_flatten(Importer& in) {
  const Shape shape = in.input_shape(0);
  const auto rank = static_cast<int64_t>(shape.size());
  int64_t axis = in.attribute("axis", int64_t{1});
  if (axis != rank) axis = normal_axis(axis, rank);
  int64_t rows = 1;
  for (int64_t i = 0; i < axis; ++i) rows *= shape[static_cast<size_t>(i)];
  in.emit(graph::Reshape{{rows, element_count(shape) / std::max<int64_t>(rows, 1)}}, {in.input(0)});
}

void import_squeeze(Importer& in) {
  const Shape shape = in.input_shape(0);
  const auto axes = axes_of(in, 1, static_cast<int64_t>(shape.size()));
  graph::Reshape reshape;
  for (size_t i = 0; i < shape.size(); ++i) {
    const bool named = std::ranges::find(axes, static_cast<int64_t>(i)) != axes.end();
    if (named && shape[i] != 1) fail("axis {} of {} is not 1", i, shape_string(shape));
    if (!named && (shape[i] != 1 || !axes.empty())) reshape.shape.push_back(shape[i]);
  }
  in.emit(reshape, {in.input(0)});
}

void import_unsqueeze(Importer& in) {
  const Shape shape = in.input_shape(0);
  const size_t added = in.has_input(1) ? in.integers(1).size() : in.integers("axes", {}).size();
  const size_t rank = shape.size() + added;
  const auto axes = axes_of(in, 1, static_cast<int64_t>(rank));
  graph::Reshape reshape;
  size_t next = 0;
  for (size_t i = 0; i < rank; ++i) {
    const bool is_new = std::ranges::find(axes, static_cast<int64_t>(i)) != axes.end();
    if (!is_new && next >= shape.size()) fail("axes repeat");
    reshape.shape.push_back(is_new ? 1 : shape[next++]);
  }
  if (next != shape.size()) fail("axes repeat");
  in.emit(reshape, {in.input(0)});
}

void import_transpose(Importer& in) {
  auto permutation = in.integers("perm", {});
  if (permutation.empty()) {  // the axes backwards
    permutation.resize(in.input_shape(0).size());
    std::iota(permutation.rbegin(), permutation.rend(), 0);
  }
  std::vector<bool> seen(permutation.size(), false);
  for (const int64_t axis : permutation) {
    if (axis < 0 || static_cast<size_t>(axis) >= seen.size() || seen[static_cast<size_t>(axis)]) {
      fail("perm {} is no permutation", shape_string(permutation));
    }
    seen[static_cast<size_t>(axis)] = true;
  }
  in.emit(graph::Transpose{permutation}, {in.input(0)});
}

// Steps that go forward only. Before opset 10 the ranges were attributes: too old to be read here.
void import_slice(Importer& in) {
  const Shape shape = in.input_shape(0);
  const std::vector<int64_t> starts = in.integers(1);
  const std::vector<int64_t> ends = in.integers(2);
  std::vector<int64_t> axes(starts.size());
  std::iota(axes.begin(), axes.end(), 0);
  if (in.has_input(3)) axes = in.integers(3);
  std::vector<int64_t> steps(starts.size(), 1);
  if (in.has_input(4)) steps = in.integers(4);
  if (ends.size() != starts.size() || axes.size() != starts.size() ||
      steps.size() != starts.size()) {
    fail("starts, ends, axes and steps differ in number");
  }
  graph::Slice slice;
  for (size_t i = 0; i < starts.size(); ++i) {
    require(steps[i] >= 1, "slicing backwards");
    const int64_t axis = normal_axis(axes[i], static_cast<int64_t>(shape.size()));
    const int64_t extent = shape[static_cast<size_t>(axis)];
    const auto place = [&](int64_t value) {
      return std::clamp<int64_t>(value < 0 ? value + extent : value, 0, extent);
    };
    const int64_t start = place(starts[i]);
    const int64_t end = std::max(place(ends[i]), start);
    slice.ranges.push_back({axis, start, end == extent ? graph::Slice::kToEnd : end, steps[i]});
  }
  in.emit(slice, {in.input(0)});
}

void import_gather(Importer& in) {
  in.emit(graph::Gather{.axis = in.attribute("axis", int64_t{0})}, {in.input(0), in.input(1)});
}
void import_gather_elements(Importer& in) {
  in.emit(graph::Gather{.axis = in.attribute("axis", int64_t{0}), .elements = true},
          {in.input(0), in.input(1)});
}

void import_reduce(Importer& in, graph::ReduceKind kind) {
  const int64_t rank = rank_of(in, 0);
  graph::Reduce reduce{.kind = kind, .axes = axes_of(in, 1, rank), .keep_axes = true};
  if (reduce.axes.empty()) {
    require(in.attribute("noop_with_empty_axes", int64_t{0}) == 0, "a reduction of nothing");
    reduce.axes.resize(static_cast<size_t>(rank));
    std::iota(reduce.axes.begin(), reduce.axes.end(), 0);
  }
  require(kind != graph::ReduceKind::kMean || is_floating_point(in.input_type(0)),
          "the mean of integers");
  reduce.keep_axes = in.attribute("keepdims", int64_t{1}) != 0;
  in.emit(reduce, {in.input(0)});
}
void import_reduce_max(Importer& in) { import_reduce(in, graph::ReduceKind::kMax); }
void import_reduce_min(Importer& in) { import_reduce(in, graph::ReduceKind::kMin); }
void import_reduce_mean(Importer& in) { import_reduce(in, graph::ReduceKind::kMean); }
void import_reduce_sum(Importer& in) { import_reduce(in, graph::ReduceKind::kSum); }

void import_global_average_pool(Importer& in) {
  graph::Reduce reduce{.kind = graph::ReduceKind::kMean, .axes = {}, .keep_axes = true};
  for (int64_t axis = 2; axis < rank_of(in, 0); ++axis) reduce.axes.push_back(axis);
  require(!reduce.axes.empty(), "pooling of a matrix");
  in.emit(reduce, {in.input(0)});
}

void import_top_k(Importer& in) {
  require(in.attribute("largest", int64_t{1}) == 1, "TopK of the smallest");
  const std::vector<int64_t> count = in.integers(1);
  if (count.size() != 1) fail("TopK with {} counts", count.size());
  in.emit(graph::TopK{.count = count[0], .axis = in.attribute("axis", int64_t{-1})}, {in.input(0)});
}

void import_expand(Importer& in) {
  const std::vector<int64_t> shape = in.integers(1);
  element_count(shape);  // throws for negative extents
  in.emit(graph::Expand{shape}, {in.input(0)});
}

void import_tile(Importer& in) { in.emit(graph::Tile{in.integers(1)}, {in.input(0)}); }

}  // namespace

ImportRule find_index_rule(const std::string& op) {
  static const std::map<std::string, ImportRule> rules = {
      {"Concat", import_concat},
      {"Expand", import_expand},
      {"Flatten", import_flatten},
      {"Gather", import_gather},
      {"GatherElements", import_gather_elements},
      {"GlobalAveragePool", import_global_average_pool},
      {"ReduceMax", import_reduce_max},
      {"ReduceMean", import_reduce_mean},
      {"ReduceMin", import_reduce_min},
      {"ReduceSum", import_reduce_sum},
      {"Reshape", import_reshape},
      {"Slice", import_slice},
      {"Split", import_split},
      {"Squeeze", import_squeeze},
      {"Tile", import_tile},
      {"TopK", import_top_k},
      {"Transpose", import_transpose},
      {"Unsqueeze", import_unsqueeze},
  };
  const auto found = rules.find(op);
  return found == rules.end() ? nullptr : found->second;
}

}  // namespace yoloquant::onnx

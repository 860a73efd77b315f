#include <algorithm>

#include "onnx/lowering.h"
#include "onnx/tensor_proto.h"

namespace yoloquant::onnx {

namespace {

bool needs_reference(const graph::Reshape& reshape) {
  return std::ranges::find(reshape.shape, graph::Reshape::kSameAsReference) != reshape.shape.end();
}

// Shape(reference) with the named axes gathered, and the fixed entries between them.
std::string dynamic_shape(const LoweringContext& at, const graph::Reshape& reshape) {
  const std::string reference = at.aux("Shape", "Shape", {at.inputs.at(1)});
  std::vector<std::string> parts;
  for (size_t i = 0; i < reshape.shape.size(); ++i) {
    const auto axis = static_cast<int64_t>(i);
    const bool copied = reshape.shape[i] == graph::Reshape::kSameAsReference;
    parts.push_back(copied ? at.aux("Gather", fmt::format("extent_{}", i),
                                    {reference, at.builder.ints("index", {axis})})
                           : at.builder.ints("extent", {reshape.shape[i]}));
  }
  return at.aux("Concat", "shape", parts, {{"axis", int64_t{0}}});
}

// Static sizes: the values themselves. Source: Ultralytics make_anchors, offset 0.5.
void constant_grid(const LoweringContext& at, const graph::AnchorGrid& grid) {
  const int64_t total = at.output_shape(0).at(2);
  std::vector<float> points(static_cast<size_t>(2 * total));
  std::vector<float> strides(static_cast<size_t>(total));
  size_t next = 0;
  for (size_t level = 0; level < grid.strides.size(); ++level) {
    const Shape& shape = at.input_shape(level);
    for (int64_t y = 0; y < shape[2]; ++y) {
      for (int64_t x = 0; x < shape[3]; ++x, ++next) {
        points[next] = static_cast<float>(x) + 0.5F;
        points[strides.size() + next] = static_cast<float>(y) + 0.5F;
        strides[next] = static_cast<float>(grid.strides[level]);
      }
    }
  }
  at.builder.define(at.outputs[0], Tensor::from<float>({1, 2, total}, points));
  at.builder.define(at.outputs[1], Tensor::from<float>({1, 1, total}, strides));
}

// 0.5, 1.5, ... extent - 0.5 as a vector.
std::string cell_centres(const LoweringContext& at, const std::string& suffix,
                         const std::string& extent) {
  const auto scalar = [&](float value) {
    return at.builder.float_scalar("float", value, DType::kFloat32);
  };
  const std::string limit =
      at.aux("Cast", suffix + "/Cast", {extent}, {{"to", int64_t{onnx_type(DType::kFloat32)}}});
  return at.aux("Range", suffix + "/Range", {scalar(0.5F), limit, scalar(1)});
}

void computed_grid(const LoweringContext& at, const graph::AnchorGrid& grid) {
  ModelBuilder& builder = at.builder;
  std::vector<std::string> points;
  std::vector<std::string> strides;
  for (size_t level = 0; level < grid.strides.size(); ++level) {
    const auto part = [&](const char* name) { return fmt::format("level_{}/{}", level, name); };
    const std::string shape = at.aux("Shape", part("Shape"), {at.inputs[level]});
    const auto extent = [&](const char* name, int64_t axis) {
      return at.aux("Gather", part(name), {shape, builder.int_scalar("axis", axis)});
    };
    const std::string x = cell_centres(at, part("x"), extent("width", 3));
    const std::string y = cell_centres(at, part("y"), extent("height", 2));
    const std::string column =
        at.aux("Reshape", part("column"), {y, builder.ints("extent", {-1, 1})});
    const std::string size = at.aux("Gather", part("size"), {shape, builder.ints("index", {2, 3})});
    const std::string row = builder.ints("extent", {1, 1, -1});
    const auto spread = [&](const char* name, const std::string& values) {
      const std::string plane = at.aux("Expand", part(name), {values, size});
      return at.aux("Reshape", part(name) + "_row", {plane, row});
    };
    const std::string x_row = spread("x_plane", x);
    points.push_back(at.aux("Concat", part("points"), {x_row, spread("y_plane", column)},
                            {{"axis", int64_t{1}}}));
    const std::string row_shape = at.aux("Shape", part("row_shape"), {x_row});
    const std::string stride =
        builder.float_scalar("float", static_cast<float>(grid.strides[level]), DType::kFloat32);
    strides.push_back(at.aux("Expand", part("stride"), {stride, row_shape}));
  }
  const Attributes last_axis{{"axis", int64_t{2}}};
  builder.add_named("Concat", at.node.name + "/points", points, {at.outputs[0]}, last_axis);
  builder.add_named("Concat", at.node.name + "/strides", strides, {at.outputs[1]}, last_axis);
}

}  // namespace

// ONNX Runtime computes a Softmax that is not over the last axis on one thread and moves the data
// for it; its parts along that axis take an eighth of the time. Other layouts keep the one node.
void lower_softmax(const LoweringContext& at, const graph::Softmax& softmax) {
  const auto last = static_cast<int64_t>(at.output_shape(0).size()) - 1;
  const bool over_last = softmax.axis == -1 || softmax.axis == last;
  if (at.layout != Layout::kDeploy || over_last) {
    return at.emit("Softmax", {at.inputs[0]}, {{"axis", softmax.axis}});
  }
  const std::string axes = at.builder.ints("axes", {softmax.axis});
  const auto reduce_max = [&](const std::string& x) {
    if (at.builder.opset() >= 18) return at.aux("ReduceMax", "ReduceMax", {x, axes});
    return at.aux("ReduceMax", "ReduceMax", {x}, {{"axes", std::vector<int64_t>{softmax.axis}}});
  };
  const std::string shifted = at.aux("Sub", "Sub", {at.inputs[0], reduce_max(at.inputs[0])});
  const std::string powers = at.aux("Exp", "Exp", {shifted});
  at.emit("Div", {powers, at.aux("ReduceSum", "ReduceSum", {powers, axes})});
}

void lower_reshape(const LoweringContext& at, const graph::Reshape& reshape) {
  // ONNX's 0 and -1 mean what kSameAsInput and kInferred mean.
  if (!needs_reference(reshape)) {
    at.emit("Reshape", {at.inputs[0], at.builder.ints("shape", reshape.shape)});
  } else if (at.dynamic) {
    at.emit("Reshape", {at.inputs[0], dynamic_shape(at, reshape)});
  } else {
    at.emit("Reshape", {at.inputs[0], at.builder.ints("shape", at.output_shape(0))});
  }
}

void lower_anchor_grid(const LoweringContext& at, const graph::AnchorGrid& grid) {
  if (at.dynamic) {
    computed_grid(at, grid);
  } else {
    constant_grid(at, grid);
  }
}

}  // namespace yoloquant::onnx

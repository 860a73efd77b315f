#include "onnx/writer.h"

#include <algorithm>

#include "base/error.h"
#include "base/file.h"
#include "onnx/lowering.h"
#include "onnx/metadata.h"
#include "onnx/model_builder.h"
#include "onnx/opaque.h"

namespace yoloquant::onnx {

using graph::Graph;
using graph::ValueId;
using Role = ModelBuilder::Role;

Precision parse_precision(std::string_view name) {
  for (const Precision precision : {Precision::kFloat32, Precision::kFloat16}) {
    if (precision_name(precision) == name) return precision;
  }
  fail_usage("unknown precision '{}': use fp32 or fp16", name);
}

std::string_view precision_name(Precision precision) {
  return precision == Precision::kFloat32 ? "fp32" : "fp16";
}

Layout parse_layout(std::string_view name) {
  for (const Layout layout : {Layout::kQcdq, Layout::kInt4, Layout::kDeploy}) {
    if (layout_name(layout) == name) return layout;
  }
  fail_usage("unknown layout '{}': use qcdq, int4 or deploy", name);
}

std::string_view layout_name(Layout layout) {
  switch (layout) {
    case Layout::kQcdq:
      return "qcdq";
    case Layout::kInt4:
      return "int4";
    case Layout::kDeploy:
      return "deploy";
  }
  return "";
}

int least_opset(Layout layout) { return layout == Layout::kInt4 ? 21 : kMinOpset; }

namespace {

const std::vector<std::string> kInputSymbols{"batch", "height", "width"};
const std::vector<std::string> kOutputSymbols{"batch", "anchors", "detections"};

void check_options(const Graph& graph, const WriteOptions& options) {
  if (options.opset < kMinOpset || options.opset > kMaxOpset) {
    fail_usage("opset {} is not supported: use {}..{}", options.opset, kMinOpset, kMaxOpset);
  }
  if (options.opset < least_opset(options.layout)) {
    fail_usage("layout {} needs opset {} or newer", layout_name(options.layout),
               least_opset(options.layout));
  }
  graph::check(graph);
  if (graph.inputs.empty() || graph.outputs.empty()) fail("the graph has no inputs or no outputs");
  for (const ValueId id : graph.inputs) {
    if (graph.values[id].shape.size() != 4) {
      fail("input {} has no shape [N, C, H, W]", graph.values[id].name);
    }
  }
}

// The graph's shapes with every extent that depends on the input's size or batch replaced by
// kUnknown: found by inferring them again for another input.
std::vector<Shape> symbolic_shapes(const Graph& graph) {
  Graph other = graph;
  constexpr int64_t kStep = 64;  // a multiple of any level's stride
  for (const ValueId id : graph.inputs) {
    Shape& shape = other.values[id].shape;
    shape = {shape[0] + 1, shape[1], shape[2] + kStep, shape[3] + 3 * kStep};
  }
  with_context("the graph cannot be dynamic", [&] { graph::infer_shapes(other); });
  std::vector<Shape> shapes;
  for (size_t i = 0; i < graph.values.size(); ++i) {
    Shape shape = graph.values[i].shape;
    const Shape& changed = other.values[i].shape;
    for (size_t axis = 0; axis < shape.size(); ++axis) {
      if (shape[axis] != changed[axis]) shape[axis] = ModelBuilder::kUnknown;
    }
    shapes.push_back(std::move(shape));
  }
  return shapes;
}

// The names of an output's open extents. K = min(300, A) stays open too: small inputs have fewer
// anchor points.
Shape output_symbols(Shape shape, bool selected) {
  if (!shape.empty() && shape[0] == ModelBuilder::kUnknown) shape[0] = ModelBuilder::symbol(0);
  if (selected) {
    shape.at(1) = ModelBuilder::symbol(2);
  } else if (shape.size() == 3 && shape[2] == ModelBuilder::kUnknown) {
    shape[2] = ModelBuilder::symbol(1);
  }
  return shape;
}

bool is_selection(const Graph& graph, ValueId id) {
  return std::ranges::any_of(graph.nodes, [&](const graph::Node& node) {
    return std::holds_alternative<graph::SelectDetections>(node.op) && node.outputs[0] == id;
  });
}

void declare_values(const Graph& graph, const WriteOptions& options, const Lowering& lowering,
                    ModelBuilder& builder) {
  std::vector<Shape> shapes;
  for (const auto& value : graph.values) shapes.push_back(value.shape);
  if (options.dynamic) shapes = symbolic_shapes(graph);
  for (const ValueId id : graph.inputs) {
    Shape shape = shapes[id];
    if (options.dynamic) {
      shape = {ModelBuilder::symbol(0), shape[1], ModelBuilder::symbol(1), ModelBuilder::symbol(2)};
    }
    builder.declare(Role::kInput, graph.values[id].name, DType::kFloat32, shape, kInputSymbols);
  }
  for (const ValueId id : graph.outputs) {
    const Shape shape =
        options.dynamic ? output_symbols(shapes[id], is_selection(graph, id)) : shapes[id];
    const DType dtype = graph.values[id].dtype;
    builder.declare(Role::kOutput, graph.values[id].name, dtype, shape, kOutputSymbols);
  }
  for (const graph::Node& node : graph.nodes) {
    const bool is_grid = std::holds_alternative<graph::AnchorGrid>(node.op);
    if (is_grid && !options.dynamic) continue;  // initializers, which carry their own shapes
    for (const ValueId id : node.outputs) {
      const auto& emitted = lowering.emitted(id);
      const bool is_output = std::ranges::find(graph.outputs, id) != graph.outputs.end();
      if (emitted.constant != nullptr || is_output) continue;
      builder.declare(Role::kValue, emitted.name, emitted.dtype, shapes[id]);
    }
  }
}

}  // namespace

std::string serialize(const Graph& graph, const WriteOptions& options) {
  check_options(graph, options);
  Graph shaped = graph;
  graph::infer_shapes(shaped);
  ModelBuilder builder(opaque_opset(shaped, options.opset));
  Lowering lowering(shaped, options, builder);
  lowering.run();
  declare_values(shaped, options, lowering, builder);
  const Shape& input_shape = shaped.values[shaped.inputs[0]].shape;
  for (const auto& [key, value] : metadata_props(shaped.metadata, input_shape)) {
    builder.metadata(key, value);
  }
  return builder.serialize();
}

void write(const Graph& graph, const std::filesystem::path& path, const WriteOptions& options) {
  write_file(path, serialize(graph, options));
}

}  // namespace yoloquant::onnx

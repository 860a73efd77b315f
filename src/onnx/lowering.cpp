#include "onnx/lowering.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "onnx/lower_quantizer.h"
#include "onnx/tensor_proto.h"

namespace yoloquant::onnx {

using graph::Node;
using graph::ValueId;

namespace {

constexpr float kMaxHalf = 65504.0F;

bool fits_half(const Tensor& tensor) {
  if (tensor.dtype() != DType::kFloat32) return true;
  return std::ranges::all_of(tensor.data<float>(), [](float value) {
    return !std::isfinite(value) || std::abs(value) <= kMaxHalf;
  });
}

}  // namespace

Tensor convert(const Tensor& tensor, DType dtype, const std::string& name) {
  if (!is_floating_point(tensor.dtype())) return tensor;
  if (dtype == DType::kFloat16 && !fits_half(tensor)) {
    fail("{} has values beyond float16's {}: export it as fp32", name, kMaxHalf);
  }
  return tensor.to(dtype);
}

void LoweringContext::emit(const std::string& op, const std::vector<std::string>& in,
                           const Attributes& attributes) const {
  builder.add_named(op, node.name, in, outputs, attributes);
}

std::string LoweringContext::aux(const std::string& op, const std::string& suffix,
                                 const std::vector<std::string>& in,
                                 const Attributes& attributes) const {
  return builder.add(op, node.name + "/" + suffix, in, attributes);
}

std::string LoweringContext::parameter(const std::string& part) const {
  const std::string name = node.name + "." + part;
  return builder.initializer(name, convert(graph.parameter(name), dtype, name));
}

Lowering::Lowering(const graph::Graph& graph, const WriteOptions& options, ModelBuilder& builder)
    : graph_(graph), options_(options), builder_(builder), emitted_(graph.values.size()) {
  for (const graph::Value& value : graph.values) builder_.reserve_value(value.name);
  for (const Node& node : graph.nodes) builder_.reserve_node(node.name);
}

void Lowering::run() {
  lower_inputs();
  for (const Node& node : graph_.nodes) {
    with_context(node.name, [&] { lower(node); });
  }
  lower_outputs();
}

bool Lowering::is_output(ValueId id) const {
  return std::ranges::find(graph_.outputs, id) != graph_.outputs.end();
}

// QuantizeLinear and DequantizeLinear behind a value that the graph says is quantized.
void Lowering::quantize_value(ValueId id) {
  const std::string& name = graph_.values[id].name;
  const auto found = graph_.value_quantization.find(name);
  if (found == graph_.value_quantization.end()) return;
  Emitted& value = emitted_[id];
  value.quantized =
      QuantizerWriter(builder_, value.dtype, name, name).fake_quantize(value.name, found->second);
}

void Lowering::lower_inputs() {
  for (const ValueId id : graph_.inputs) {
    Emitted& value = emitted_[id];
    value.name = graph_.values[id].name;
    if (options_.precision == Precision::kFloat16) {
      value.as[DType::kFloat32] = value.name;
      value.name = builder_.add("Cast", value.name + "/Cast", {value.name},
                                {{"to", int64_t{onnx_type(DType::kFloat16)}}});
      value.dtype = DType::kFloat16;
    }
    quantize_value(id);
  }
}

DType Lowering::work_type(const Node& node) const {
  if (options_.precision == Precision::kFloat32) return DType::kFloat32;
  if (std::holds_alternative<graph::AnchorGrid>(node.op) ||
      std::holds_alternative<graph::SelectDetections>(node.op) ||
      std::holds_alternative<graph::Opaque>(node.op)) {
    return DType::kFloat32;
  }
  // Numbers that were integers may be large.
  const bool is_cast = std::holds_alternative<graph::Cast>(node.op);
  if (is_cast && !is_float(node.inputs[0])) return DType::kFloat32;
  // A Reshape looks at its second input for the shape only.
  const size_t count = std::holds_alternative<graph::Reshape>(node.op) ? 1 : node.inputs.size();
  for (size_t i = 0; i < count; ++i) {
    if (!is_float(node.inputs[i])) continue;
    const Emitted& input = emitted_[node.inputs[i]];
    const bool wide =
        input.constant != nullptr ? !fits_half(*input.constant) : input.dtype == DType::kFloat32;
    if (wide) return DType::kFloat32;
  }
  return DType::kFloat16;
}

bool Lowering::is_float(ValueId id) const { return is_floating_point(graph_.values[id].dtype); }

std::string Lowering::use(ValueId id, DType wanted) {
  Emitted& value = emitted_[id];
  const DType dtype = is_float(id) ? wanted : graph_.values[id].dtype;
  const std::string& source = value.quantized.empty() ? value.name : value.quantized;
  if (value.constant == nullptr && value.dtype == dtype) return source;
  const auto [place, is_new] = value.as.try_emplace(dtype);
  std::string& name = place->second;
  if (!is_new) return name;
  const std::string& own = graph_.values[id].name;
  if (value.constant != nullptr) {
    // The first use takes the value's own name, which Lowering has reserved.
    const Tensor tensor = convert(*value.constant, dtype, own);
    name = builder_.initializer(own + ".value", tensor);
  } else {
    name = builder_.add("Cast", fmt::format("{}/{}", own, dtype_name(dtype)), {source},
                        {{"to", int64_t{onnx_type(dtype)}}});
  }
  return name;
}

const Attributes kHardGate{{"alpha", 1.0F / 6.0F}, {"beta", 0.5F}};

// One overload an operator; no default, so that a new operator does not compile until it is here.
struct Lowering::Rules {
  const LoweringContext& at;

  void operator()(const graph::Conv& op) const { lower_conv(at, op); }
  void operator()(const graph::BatchNorm& op) const {
    at.emit("BatchNormalization",
            {at.inputs[0], at.parameter("weight"), at.parameter("bias"),
             at.parameter("running_mean"), at.parameter("running_var")},
            {{"epsilon", op.eps}});
  }
  void operator()(const graph::Activation& op) const {
    const std::string& x = at.inputs[0];
    switch (op.kind) {
      case graph::ActivationKind::kSilu:
        return at.emit("Mul", {x, at.aux("Sigmoid", "Sigmoid", {x})});
      case graph::ActivationKind::kSigmoid:
        return at.emit("Sigmoid", {x});
      case graph::ActivationKind::kRelu:
        return at.emit("Relu", {x});
      case graph::ActivationKind::kLeakyRelu:
        return at.emit("LeakyRelu", {x}, {{"alpha", op.alpha}});
      case graph::ActivationKind::kHardSwish:
        // HardSwish itself exists from opset 14 on only.
        return at.emit("Mul", {x, at.aux("HardSigmoid", "HardSigmoid", {x}, kHardGate)});
      case graph::ActivationKind::kHardSigmoid:
        return at.emit("HardSigmoid", {x}, kHardGate);
    }
  }
  void operator()(const graph::Elementwise& op) const {
    static constexpr const char* kOps[] = {"Add", "Sub", "Mul", "Div", "Pow", "Min", "Max", "Mod"};
    at.emit(kOps[static_cast<size_t>(op.kind)], at.inputs);
  }
  void operator()(const graph::MaxPool& op) const {
    at.emit("MaxPool", {at.inputs[0]},
            {{"kernel_shape", std::vector<int64_t>(op.kernel.begin(), op.kernel.end())},
             {"pads", std::vector<int64_t>(op.padding.begin(), op.padding.end())},
             {"strides", std::vector<int64_t>(op.stride.begin(), op.stride.end())}});
  }
  void operator()(const graph::Upsample& op) const {
    const auto factor = static_cast<float>(op.factor);
    const std::string scales = at.builder.constant(
        "scales", Tensor::from<float>({4}, std::vector<float>{1, 1, factor, factor}));
    at.emit("Resize", {at.inputs[0], "", scales},
            {{"coordinate_transformation_mode", "asymmetric"},
             {"mode", "nearest"},
             {"nearest_mode", "floor"}});
  }
  void operator()(const graph::Concat& op) const {
    at.emit("Concat", at.inputs, {{"axis", op.axis}});
  }
  void operator()(const graph::Split& op) const {
    at.emit("Split", {at.inputs[0], at.builder.ints("split", op.sizes)}, {{"axis", op.axis}});
  }
  void operator()(const graph::Reshape& op) const { lower_reshape(at, op); }
  void operator()(const graph::Transpose& op) const {
    at.emit("Transpose", {at.inputs[0]}, {{"perm", op.permutation}});
  }
  void operator()(const graph::MatMul&) const { at.emit("MatMul", at.inputs); }
  void operator()(const graph::Softmax& op) const { lower_softmax(at, op); }
  void operator()(const graph::Constant&) const {}  // an initializer where it is used
  void operator()(const graph::Slice& op) const { lower_slice(at, op); }
  void operator()(const graph::Gather& op) const {
    at.emit(op.elements ? "GatherElements" : "Gather", at.inputs, {{"axis", op.axis}});
  }
  void operator()(const graph::Reduce& op) const { lower_reduce(at, op); }
  void operator()(const graph::TopK& op) const {
    at.emit("TopK", {at.inputs[0], at.builder.ints("k", {op.count})}, {{"axis", op.axis}});
  }
  void operator()(const graph::Expand& op) const {
    at.emit("Expand", {at.inputs[0], at.builder.ints("shape", op.shape)});
  }
  void operator()(const graph::Tile& op) const {
    at.emit("Tile", {at.inputs[0], at.builder.ints("repeats", op.repeats)});
  }
  void operator()(const graph::Cast& op) const {
    const DType dtype = is_floating_point(op.dtype) ? at.dtype : op.dtype;
    at.emit("Cast", {at.inputs[0]}, {{"to", int64_t{onnx_type(dtype)}}});
  }
  void operator()(const graph::Opaque& op) const { lower_opaque(at, op); }
  void operator()(const graph::AnchorGrid& op) const { lower_anchor_grid(at, op); }
  void operator()(const graph::SelectDetections& op) const { lower_select(at, op); }
};

void Lowering::lower(const Node& node) {
  const DType dtype = work_type(node);
  LoweringContext context{graph_, node, builder_, dtype, options_.dynamic, options_.layout, {}, {}};
  const bool only_shapes = std::holds_alternative<graph::AnchorGrid>(node.op);
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    const ValueId id = node.inputs[i];
    const bool shape_only =
        only_shapes || (i > 0 && std::holds_alternative<graph::Reshape>(node.op));
    const bool as_it_is = shape_only && emitted_[id].constant == nullptr;
    context.inputs.push_back(as_it_is ? emitted_[id].name : use(id, dtype));
  }
  for (const ValueId id : node.outputs) {
    const std::string& name = graph_.values[id].name;
    Emitted& value = emitted_[id];
    value.dtype = is_float(id) ? dtype : graph_.values[id].dtype;
    // A float output is float32: a half one is made under another name and cast at the end.
    value.name = value.dtype == DType::kFloat16 && is_output(id) ? name + "/half" : name;
    context.outputs.push_back(value.name);
    if (std::holds_alternative<graph::Constant>(node.op)) {
      value.constant = &graph_.parameter(node.name + ".value");
    }
  }
  std::visit(Rules{context}, node.op);
  for (const ValueId id : node.outputs) quantize_value(id);
}

void Lowering::lower_outputs() {
  for (const ValueId id : graph_.outputs) {
    const Emitted& value = emitted_[id];
    const std::string& name = graph_.values[id].name;
    const bool is_input = std::ranges::find(graph_.inputs, id) != graph_.inputs.end();
    if (is_input) fail("output {} is an input as well", name);
    if (value.constant != nullptr) {
      builder_.add_named("Identity", name + "/Identity", {use(id, DType::kFloat32)}, {name});
    } else if (value.dtype == DType::kFloat16) {
      builder_.add_named("Cast", name + "/Cast", {value.name}, {name},
                         {{"to", int64_t{onnx_type(DType::kFloat32)}}});
    }
  }
}

}  // namespace yoloquant::onnx

#include <algorithm>
#include <array>
#include <cmath>
#include <map>

#include "base/error.h"
#include "onnx/importer.h"
#include "onnx/tensor_proto.h"

// One rule an operator: an ONNX node as a graph operator. A rule refuses what the graph cannot
// express instead of guessing.
namespace yoloquant::onnx {

namespace {

template <size_t N>
std::array<int64_t, N> fixed(const std::vector<int64_t>& values, const char* what) {
  if (values.size() != N) fail("{} has {} entries, not {}", what, values.size(), N);
  std::array<int64_t, N> result;
  std::ranges::copy(values, result.begin());
  return result;
}

// Windows larger than any detector's are refused, so that extents cannot overflow.
template <size_t N>
std::array<int64_t, N> window(const std::vector<int64_t>& values, const char* what, int64_t least) {
  constexpr int64_t kMost = 4096;
  const auto result = fixed<N>(values, what);
  for (const int64_t value : result) {
    if (value < least || value > kMost) fail("{} has {}", what, value);
  }
  return result;
}

void require_explicit_padding(Importer& in) {
  const std::string mode = in.text("auto_pad", "NOTSET");
  require(mode == "NOTSET" || mode == "VALID", "automatic padding");
}

// Top, left, bottom, right. SAME: as many outputs as inputs over the stride, rounded up; an odd row
// or column goes to the end (SAME_UPPER) or the start.
std::array<int64_t, 4> conv_padding(Importer& in, const graph::Conv& conv, const Shape& kernel) {
  const std::string mode = in.text("auto_pad", "NOTSET");
  if (mode != "SAME_UPPER" && mode != "SAME_LOWER") {
    require_explicit_padding(in);
    return window<4>(in.integers("pads", {0, 0, 0, 0}), "pads", 0);
  }
  const Shape image = in.input_shape(0);
  require(image.size() == 4, "a convolution that is not 2-D");
  std::array<int64_t, 4> padding{};
  for (size_t axis = 0; axis < 2; ++axis) {
    const int64_t extent = image[2 + axis];
    const int64_t outputs = (extent + conv.stride[axis] - 1) / conv.stride[axis];
    const int64_t span = conv.dilation[axis] * (kernel[2 + axis] - 1) + 1;
    const int64_t total = std::max<int64_t>((outputs - 1) * conv.stride[axis] + span - extent, 0);
    padding[axis] = mode == "SAME_UPPER" ? total / 2 : total - total / 2;
    padding[axis + 2] = total - padding[axis];
  }
  return padding;
}

void import_conv(Importer& in) {
  const Tensor& weight = in.constant(1);
  require(weight.rank() == 4, "a convolution that is not 2-D");
  graph::Conv conv;
  conv.stride = window<2>(in.integers("strides", {1, 1}), "strides", 1);
  conv.dilation = window<2>(in.integers("dilations", {1, 1}), "dilations", 1);
  conv.padding = conv_padding(in, conv, weight.shape());
  conv.groups = in.attribute("group", int64_t{1});
  if (conv.groups < 1 || conv.groups > weight.dim(0)) fail("{} groups", conv.groups);
  conv.has_bias = in.has_input(2);
  std::map<std::string, Tensor> parameters{{"weight", weight}};
  if (conv.has_bias) parameters["bias"] = in.constant(2);
  in.emit(conv, {in.input(0)}, parameters, module_path(in.input_name(1), in.node().name()));
}

void import_batch_norm(Importer& in) {
  require(in.attribute("training_mode", int64_t{0}) == 0, "batch normalization in training mode");
  graph::BatchNorm norm;
  norm.eps = in.attribute("epsilon", 1e-5F);
  require(in.node().output_size() == 1, "batch normalization with statistics");
  require(in.input_shape(0).size() == 4, "batch normalization of other than images");
  in.emit(norm, {in.input(0)},
          {{"weight", in.constant(1)},
           {"bias", in.constant(2)},
           {"running_mean", in.constant(3)},
           {"running_var", in.constant(4)}},
          module_path(in.input_name(1), in.node().name()));
}

void import_activation(Importer& in, graph::ActivationKind kind) {
  in.emit(graph::Activation{kind}, {in.input(0)});
}
void import_sigmoid(Importer& in) { import_activation(in, graph::ActivationKind::kSigmoid); }
void import_relu(Importer& in) { import_activation(in, graph::ActivationKind::kRelu); }
void import_hard_swish(Importer& in) { import_activation(in, graph::ActivationKind::kHardSwish); }
void import_leaky_relu(Importer& in) {
  in.emit(graph::Activation{graph::ActivationKind::kLeakyRelu, in.attribute("alpha", 0.01F)},
          {in.input(0)});
}

void import_hard_sigmoid(Importer& in) {
  const bool is_gate = std::abs(in.attribute("alpha", 0.2F) - 1.0F / 6.0F) < 1e-6F &&
                       in.attribute("beta", 0.5F) == 0.5F;
  require(is_gate, "HardSigmoid with other slopes than HardSwish's");
  import_activation(in, graph::ActivationKind::kHardSigmoid);
}

void import_elementwise(Importer& in, graph::ElementwiseKind kind) {
  in.emit(graph::Elementwise{kind}, {in.input(0), in.input(1)});
}
void import_add(Importer& in) { import_elementwise(in, graph::ElementwiseKind::kAdd); }
void import_sub(Importer& in) { import_elementwise(in, graph::ElementwiseKind::kSub); }
void import_div(Importer& in) { import_elementwise(in, graph::ElementwiseKind::kDiv); }
void import_mul(Importer& in) { import_elementwise(in, graph::ElementwiseKind::kMul); }
void import_min(Importer& in) {
  require(in.node().input_size() == 2, "Min of other than two operands");
  import_elementwise(in, graph::ElementwiseKind::kMin);
}
void import_max(Importer& in) {
  require(in.node().input_size() == 2, "Max of other than two operands");
  import_elementwise(in, graph::ElementwiseKind::kMax);
}
void import_pow(Importer& in) {
  require(is_floating_point(in.input_type(0)) && is_floating_point(in.input_type(1)),
          "Pow of integers");
  import_elementwise(in, graph::ElementwiseKind::kPow);
}
void import_mod(Importer& in) {
  require(in.attribute("fmod", int64_t{0}) == 0, "Mod with the dividend's sign");
  import_elementwise(in, graph::ElementwiseKind::kMod);
}

void import_max_pool(Importer& in) {
  require_explicit_padding(in);
  require(in.attribute("ceil_mode", int64_t{0}) == 0, "ceil_mode");
  require(in.integers("dilations", {1, 1}) == std::vector<int64_t>({1, 1}), "dilated pooling");
  require(in.node().output_size() == 1, "pooling with indices");
  graph::MaxPool pool;
  pool.kernel = window<2>(in.integers("kernel_shape", {}), "kernel_shape", 1);
  pool.stride = window<2>(in.integers("strides", {1, 1}), "strides", 1);
  pool.padding = window<4>(in.integers("pads", {0, 0, 0, 0}), "pads", 0);
  in.emit(pool, {in.input(0)});
}

// Scales, or sizes over the input's extents.
std::vector<double> resize_factors(Importer& in) {
  std::vector<double> factors;
  if (in.has_input(2) && in.constant(2).size() > 0) {
    for (const float scale : in.constant(2).data<float>()) factors.push_back(scale);
    return factors;
  }
  const Shape shape = in.input_shape(0);
  const std::vector<int64_t> sizes = in.integers(3);
  for (size_t i = 0; i < std::min(sizes.size(), shape.size()); ++i) {
    factors.push_back(static_cast<double>(sizes[i]) / static_cast<double>(shape[i]));
  }
  return factors;
}

void import_resize(Importer& in) {
  require(in.text("mode", "nearest") == "nearest", "interpolated resizing");
  require(in.text("coordinate_transformation_mode", "half_pixel") == "asymmetric",
          "resizing that is not asymmetric");
  require(in.text("nearest_mode", "round_prefer_floor") == "floor",
          "resizing that does not round down");
  const std::vector<double> factors = resize_factors(in);
  const bool is_upsampling = factors.size() == 4 && factors[0] == 1 && factors[1] == 1 &&
                             factors[2] == factors[3] && factors[2] >= 1 && factors[2] <= 64 &&
                             factors[2] == std::floor(factors[2]);
  require(is_upsampling, "resizing by other than a whole factor");
  in.emit(graph::Upsample{static_cast<int64_t>(factors[2])}, {in.input(0)});
}

void import_mat_mul(Importer& in) { in.emit(graph::MatMul{}, {in.input(0), in.input(1)}); }

void import_softmax(Importer& in) {
  const bool flattens = in.opset() < 13;  // over all axes from `axis` on
  const int64_t axis = in.attribute("axis", int64_t{flattens ? 1 : -1});
  if (flattens) {
    const auto rank = static_cast<int64_t>(in.input_shape(0).size());
    require(axis == -1 || axis == rank - 1, "Softmax of an old opset over more than one axis");
  }
  in.emit(graph::Softmax{axis}, {in.input(0)});
}

// Imported graphs are float32 throughout: Casts between float types go.
void import_cast(Importer& in) {
  const auto type = tensor_type(static_cast<int>(in.attribute("to", int64_t{0})));
  if (!type) fail("a Cast to {}", data_type_name(static_cast<int>(in.attribute("to", int64_t{0}))));
  const bool is_float = is_floating_point(*type);
  if (is_float && is_floating_point(in.input_type(0))) return in.alias(in.input(0));
  in.emit(graph::Cast{is_float ? DType::kFloat32 : *type}, {in.input(0)});
}

void import_identity(Importer& in) { in.alias(in.input(0)); }

void import_dropout(Importer& in) {
  require(in.node().output_size() == 1, "Dropout with a mask");
  require(!in.has_input(2), "Dropout in training");
  import_identity(in);
}

}  // namespace

ImportRule find_rule(const std::string& op) {
  static const std::map<std::string, ImportRule> rules = {
      {"Add", import_add},
      {"BatchNormalization", import_batch_norm},
      {"Cast", import_cast},
      {"Conv", import_conv},
      {"Div", import_div},
      {"Dropout", import_dropout},
      {"HardSigmoid", import_hard_sigmoid},
      {"HardSwish", import_hard_swish},
      {"Identity", import_identity},
      {"LeakyRelu", import_leaky_relu},
      {"MatMul", import_mat_mul},
      {"Max", import_max},
      {"MaxPool", import_max_pool},
      {"Min", import_min},
      {"Mod", import_mod},
      {"Mul", import_mul},
      {"Pow", import_pow},
      {"Relu", import_relu},
      {"Resize", import_resize},
      {"Sigmoid", import_sigmoid},
      {"Softmax", import_softmax},
      {"Sub", import_sub},
  };
  const auto found = rules.find(op);
  return found == rules.end() ? find_index_rule(op) : found->second;
}

}  // namespace yoloquant::onnx

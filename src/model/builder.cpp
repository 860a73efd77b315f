#include "model/builder.h"

#include "base/error.h"

namespace yoloquant::model {

using graph::Elementwise;

ValueId Builder::note_channels(ValueId value, int64_t channels) {
  channels_.resize(graph_.values.size(), 0);
  channels_[static_cast<size_t>(value)] = channels;
  return value;
}

ValueId Builder::input(const std::string& name, int64_t channels, int64_t height, int64_t width) {
  const ValueId value = graph_.add_value(name);
  graph_.values[value].shape = {1, channels, height, width};
  graph_.inputs.push_back(value);
  return note_channels(value, channels);
}

ValueId Builder::conv(const std::string& name, ValueId x, const ConvSpec& spec, bool bias) {
  const int64_t in = channels(x);
  if (spec.out <= 0 || spec.kernel <= 0 || spec.stride <= 0 || spec.groups <= 0 ||
      in % spec.groups != 0 || spec.out % spec.groups != 0 || spec.kernel > 64 ||
      spec.out > (1 << 16)) {
    fail("{}: cannot map {} to {} channels with kernel {}, stride {}, {} groups", name, in,
         spec.out, spec.kernel, spec.stride, spec.groups);
  }
  const int64_t pad = spec.kernel / 2;
  graph_.parameters[name + ".weight"] =
      Tensor(DType::kFloat32, {spec.out, in / spec.groups, spec.kernel, spec.kernel});
  if (bias) graph_.parameters[name + ".bias"] = Tensor(DType::kFloat32, {spec.out});
  const graph::Conv op{.stride = {spec.stride, spec.stride},
                       .padding = {pad, pad, pad, pad},
                       .dilation = {1, 1},
                       .groups = spec.groups,
                       .has_bias = bias};
  return note_channels(graph_.add_node(name, op, {x}), spec.out);
}

ValueId Builder::conv_block(const std::string& name, ValueId x, const ConvSpec& spec) {
  const ValueId y = conv(name + ".conv", x, spec, /*bias=*/false);
  const std::string norm = name + ".bn";
  for (const char* part : {".weight", ".bias", ".running_mean", ".running_var"}) {
    graph_.parameters[norm + part] = Tensor(DType::kFloat32, {spec.out});
  }
  graph_.parameters[norm + ".num_batches_tracked"] = Tensor(DType::kInt64, {});
  const ValueId z = note_channels(graph_.add_node(norm, graph::BatchNorm{}, {y}), spec.out);
  return spec.activation ? activation(name + ".act", z, graph::ActivationKind::kSilu) : z;
}

ValueId Builder::activation(const std::string& name, ValueId x, graph::ActivationKind kind) {
  return note_channels(graph_.add_node(name, graph::Activation{.kind = kind, .alpha = 0}, {x}),
                       channels(x));
}

ValueId Builder::elementwise(const std::string& name, graph::ElementwiseKind kind, ValueId a,
                             ValueId b) {
  return note_channels(graph_.add_node(name, Elementwise{kind}, {a, b}), channels(a));
}

ValueId Builder::concat(const std::string& name, const std::vector<ValueId>& parts, int64_t axis) {
  int64_t total = 0;
  for (const ValueId part : parts) total += channels(part);
  if (axis != 1) total = channels(parts.front());
  return note_channels(graph_.add_node(name, graph::Concat{axis}, parts), total);
}

std::vector<ValueId> Builder::split(const std::string& name, ValueId x, std::vector<int64_t> sizes,
                                    int64_t axis) {
  const int64_t own = channels(x);
  const std::vector<ValueId> parts =
      graph_.add_node(name, graph::Split{axis, sizes}, {x}, sizes.size());
  for (size_t i = 0; i < parts.size(); ++i) note_channels(parts[i], axis == 1 ? sizes[i] : own);
  return parts;
}

ValueId Builder::max_pool(const std::string& name, ValueId x, int64_t kernel, int64_t stride) {
  const int64_t pad = kernel / 2;
  const graph::MaxPool op{
      .kernel = {kernel, kernel}, .stride = {stride, stride}, .padding = {pad, pad, pad, pad}};
  return note_channels(graph_.add_node(name, op, {x}), channels(x));
}

ValueId Builder::upsample(const std::string& name, ValueId x, int64_t factor) {
  return note_channels(graph_.add_node(name, graph::Upsample{factor}, {x}), channels(x));
}

ValueId Builder::reshape(const std::string& name, ValueId x, std::vector<int64_t> shape,
                         int64_t channels, ValueId reference) {
  std::vector<ValueId> inputs = {x};
  if (reference >= 0) inputs.push_back(reference);
  return note_channels(graph_.add_node(name, graph::Reshape{std::move(shape)}, std::move(inputs)),
                       channels);
}

ValueId Builder::transpose(const std::string& name, ValueId x, std::vector<int64_t> permutation) {
  return note_channels(graph_.add_node(name, graph::Transpose{std::move(permutation)}, {x}),
                       channels(x));
}

ValueId Builder::matmul(const std::string& name, ValueId a, ValueId b) {
  return note_channels(graph_.add_node(name, graph::MatMul{}, {a, b}), channels(a));
}

ValueId Builder::softmax(const std::string& name, ValueId x, int64_t axis) {
  return note_channels(graph_.add_node(name, graph::Softmax{axis}, {x}), channels(x));
}

ValueId Builder::constant(const std::string& name, Tensor value) {
  graph_.parameters[name + ".value"] = std::move(value);
  return note_channels(graph_.add_node(name, graph::Constant{}, {}), 0);
}

}  // namespace yoloquant::model

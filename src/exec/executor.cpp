#include "exec/executor.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <ATen/ops/from_blob.h>
#include <c10/core/InferenceMode.h>
#include <torch/version.h>

#include <algorithm>
#include <optional>
#include <unordered_map>

#include "base/error.h"
#include "base/parallel.h"
#include "exec/convert.h"
#include "exec/operators.h"

namespace yoloquant::exec {

namespace {

c10::Device choose_device(const std::string& name) {
  const bool cuda = at::hasCUDA() && at::getNumGPUs() > 0;
  if (name == "cpu" || (name == "auto" && !cuda)) return c10::Device(c10::kCPU);
  if (name != "auto" && name != "cuda" && !name.starts_with("cuda:")) {
    fail_usage("unknown device '{}': use auto, cpu, cuda or cuda:N", name);
  }
  if (!cuda) fail("device {} was asked for, but there is no usable CUDA device", name);
  const std::string index = name.starts_with("cuda:") ? name.substr(5) : "0";
  if (index.empty() || index.find_first_not_of("0123456789") != std::string::npos ||
      index.size() > 3 || std::stoul(index) >= at::getNumGPUs()) {
    fail_usage("no device '{}': {} CUDA devices are visible", name, at::getNumGPUs());
  }
  return {c10::kCUDA, static_cast<c10::DeviceIndex>(std::stol(index))};
}

}  // namespace

class Executor::Impl {
 public:
  Impl(const graph::Graph& graph, const ExecutorOptions& options)
      : nodes_(graph.nodes),
        inputs_(graph.inputs),
        outputs_(graph.outputs),
        value_count_(graph.values.size()),
        options_(options),
        device_(choose_device(options.device)) {
    if (!is_floating_point(options.precision)) fail("precision must be a float type");
    const c10::InferenceMode guard;
    for (size_t i = 0; i < nodes_.size(); ++i) {
      if (!index_.emplace(nodes_[i].name, i).second) fail("two nodes are named {}", nodes_[i].name);
    }
    parameters_.resize(nodes_.size());
    weights_.resize(nodes_.size());
    quantization_.resize(nodes_.size());
    for (const auto& [name, tensor] : graph.parameters) set_parameter(name, tensor);
    for (const auto& [name, annotation] : graph.quantization) set_quantization(name, annotation);
    value_quantization_.resize(value_count_);
    for (size_t i = 0; i < value_count_; ++i) {
      const auto found = graph.value_quantization.find(graph.values[i].name);
      if (found != graph.value_quantization.end()) value_quantization_[i] = found->second;
    }
    plan_lifetimes();
  }

  std::vector<at::Tensor> run(const std::vector<at::Tensor>& inputs) {
    const c10::InferenceMode guard;
    std::vector<at::Tensor> values = with_inputs(inputs);
    const size_t end = stop_after_taps_ && last_tap_ >= 0 ? last_tap_ + 1 : nodes_.size();
    for (size_t i = 0; i < end; ++i) {
      step(i, values);
      release(i, values);
    }
    std::vector<at::Tensor> results;
    if (end < nodes_.size()) return results;
    for (const graph::ValueId output : outputs_) results.push_back(values[output]);
    return results;
  }

  std::vector<at::Tensor> run_all(const std::vector<at::Tensor>& inputs) {
    const c10::InferenceMode guard;
    std::vector<at::Tensor> values = with_inputs(inputs);
    for (size_t i = 0; i < nodes_.size(); ++i) step(i, values);
    return values;
  }

  std::vector<at::Tensor> run_changed(const std::vector<at::Tensor>& values,
                                      const std::vector<std::string>& changed,
                                      const std::vector<graph::ValueId>& wanted) {
    const c10::InferenceMode guard;
    if (values.size() != value_count_) fail("the values are not of a whole run of this graph");
    std::vector<bool> again(nodes_.size());
    for (const std::string& node : changed) again[index_of(node)] = true;
    const std::vector<bool> needed = needed_for(wanted);
    std::vector<at::Tensor> now = values;
    std::vector<bool> differs(value_count_);
    for (size_t i = 0; i < nodes_.size(); ++i) {
      const graph::Node& node = nodes_[i];
      const bool affected = again[i] || std::ranges::any_of(node.inputs, [&](graph::ValueId input) {
                              return differs[input];
                            });
      if (!needed[i] || !affected) continue;
      step(i, now);
      for (const graph::ValueId output : node.outputs) differs[output] = true;
    }
    std::vector<at::Tensor> results;
    for (const graph::ValueId value : wanted) results.push_back(now.at(value));
    return results;
  }

  void set_tap(Tap tap, const std::vector<std::string>& nodes) {
    tap_ = std::move(tap);
    tapped_.assign(nodes_.size(), nodes.empty() && tap_ != nullptr);
    last_tap_ = nodes.empty() ? static_cast<int64_t>(nodes_.size()) - 1 : -1;
    for (const std::string& name : nodes) {
      const size_t i = index_of(name);
      tapped_[i] = true;
      last_tap_ = std::max(last_tap_, static_cast<int64_t>(i));
    }
  }

  void set_stop_after_taps(bool stop) { stop_after_taps_ = stop; }

  void set_parameter(const std::string& name, const Tensor& value) {
    const size_t dot = name.rfind('.');
    const auto found = index_.find(name.substr(0, dot));
    if (dot == std::string::npos || found == index_.end()) fail("no node owns parameter {}", name);
    const std::string part = name.substr(dot + 1);
    if (part == "num_batches_tracked") return;
    const at::Tensor tensor = to_device(value);
    NodeParameters& node = parameters_[found->second];
    if (part == "weight") {
      node.weight = tensor;
      prepare_weight(found->second);
    } else if (part == "bias") {
      node.bias = tensor;
    } else if (part == "running_mean") {
      node.running_mean = tensor;
    } else if (part == "running_var") {
      node.running_var = tensor;
    } else if (part == "value") {
      node.value = tensor;
    } else {
      fail("unknown parameter {}", name);
    }
  }

  void set_quantization(const std::string& conv, const graph::ConvQuantization& quantization) {
    const size_t i = index_of(conv);
    if (!std::holds_alternative<graph::Conv>(nodes_[i].op)) fail("{} is no conv", conv);
    if (quantization.input && quantization.input->per_channel()) {
      fail("{}: activations are quantized per tensor", conv);
    }
    quantization_[i] = quantization;
    prepare_weight(i);
  }

  const c10::Device& device() const { return device_; }

 private:
  size_t index_of(const std::string& name) const {
    const auto found = index_.find(name);
    if (found == index_.end()) fail("the model has no node {}", name);
    return found->second;
  }

  at::Tensor to_device(const Tensor& value) const {
    const DType dtype = is_floating_point(value.dtype()) ? options_.precision : value.dtype();
    at::Tensor tensor = view_of(value).to(device_, scalar_type(dtype), /*non_blocking=*/false,
                                          /*copy=*/true);
    if (tensor.dim() == 4) tensor = tensor.contiguous(at::MemoryFormat::ChannelsLast);
    return tensor;
  }

  // Weights are fake-quantized once, not at every run.
  void prepare_weight(size_t i) {
    const at::Tensor& weight = parameters_[i].weight;
    weights_[i] = weight;
    if (!weight.defined() || !options_.fake_quantize || !quantization_[i].weight) return;
    const graph::Quantizer& q = *quantization_[i].weight;
    with_context(nodes_[i].name, [&] { graph::check(q, weight.sizes().vec()); });
    // In float32 also for half precision, as the exported graph dequantizes.
    const std::vector<float> zero(q.zero_point.begin(), q.zero_point.end());
    std::vector<int64_t> shape(weight.dim(), 1);
    if (q.per_channel()) shape[q.axis] = static_cast<int64_t>(q.scale.size());
    const auto tensor_of = [&](const std::vector<float>& values) {
      return at::from_blob(const_cast<float*>(values.data()), shape,
                           at::TensorOptions().dtype(c10::ScalarType::Float))
          .to(device_);
    };
    weights_[i] = exec::fake_quantize(weight.to(c10::ScalarType::Float), tensor_of(q.scale),
                                      tensor_of(zero), q.qmin, q.qmax)
                      .to(weight.scalar_type());
  }

  void plan_lifetimes() {
    last_use_.assign(value_count_, -1);
    for (size_t i = 0; i < nodes_.size(); ++i) {
      for (const graph::ValueId input : nodes_[i].inputs) last_use_[input] = static_cast<int>(i);
    }
    for (const graph::ValueId output : outputs_)
      last_use_[output] = static_cast<int>(nodes_.size());
  }

  // All values, of which only the inputs are known yet.
  std::vector<at::Tensor> with_inputs(const std::vector<at::Tensor>& inputs) const {
    if (inputs.size() != inputs_.size()) {
      fail("the model takes {} inputs, got {}", inputs_.size(), inputs.size());
    }
    std::vector<at::Tensor> values(value_count_);
    for (size_t i = 0; i < inputs.size(); ++i) {
      at::Tensor input = inputs[i].to(device_, scalar_type(options_.precision));
      // Convolutions run faster, and change layout less often, with channels innermost.
      if (input.dim() == 4) input = input.contiguous(at::MemoryFormat::ChannelsLast);
      values[inputs_[i]] = quantized_value(inputs_[i], input);
    }
    return values;
  }

  // By node, whether one of `wanted` depends on it.
  std::vector<bool> needed_for(const std::vector<graph::ValueId>& wanted) const {
    std::vector<bool> value_needed(value_count_);
    for (const graph::ValueId value : wanted) value_needed.at(value) = true;
    std::vector<bool> needed(nodes_.size());
    for (size_t i = nodes_.size(); i-- > 0;) {
      needed[i] = std::ranges::any_of(nodes_[i].outputs,
                                      [&](graph::ValueId output) { return value_needed[output]; });
      if (!needed[i]) continue;
      for (const graph::ValueId input : nodes_[i].inputs) value_needed[input] = true;
    }
    return needed;
  }

  // What readers of a value get.
  at::Tensor quantized_value(graph::ValueId id, const at::Tensor& value) const {
    const auto& q = value_quantization_[id];
    if (!q || !options_.fake_quantize) return value;
    return exec::fake_quantize(value, q->scale[0], q->zero_point[0], q->qmin, q->qmax);
  }

  void step(size_t i, std::vector<at::Tensor>& values) {
    try {
      compute(i, values);
    } catch (const c10::Error& error) {
      fail("{}: {}", nodes_[i].name, error.what_without_backtrace());
    }
  }

  void compute(size_t i, std::vector<at::Tensor>& values) {
    const graph::Node& node = nodes_[i];
    std::vector<at::Tensor> inputs;
    for (const graph::ValueId input : node.inputs) inputs.push_back(values[input]);
    const bool tapped = tap_ != nullptr && tapped_[i];
    const std::vector<at::Tensor> seen = tapped ? inputs : std::vector<at::Tensor>();
    const auto& quantizer = quantization_[i].input;
    if (quantizer && options_.fake_quantize) {
      inputs[0] = exec::fake_quantize(inputs[0], quantizer->scale[0], quantizer->zero_point[0],
                                      quantizer->qmin, quantizer->qmax);
    }
    const NodeParameters& own = parameters_[i];
    const NodeParameters used{weights_[i],     own.bias,  own.running_mean,
                              own.running_var, own.value, scalar_type(options_.precision)};
    const std::vector<at::Tensor> outputs = apply(node, used, inputs);
    for (size_t k = 0; k < outputs.size(); ++k) {
      values[node.outputs[k]] = quantized_value(node.outputs[k], outputs[k]);
    }
    if (tapped) tap_(node, seen, outputs);
  }

  // Frees what no later node reads.
  void release(size_t i, std::vector<at::Tensor>& values) const {
    const graph::Node& node = nodes_[i];
    for (const graph::ValueId input : node.inputs) {
      if (last_use_[input] == static_cast<int>(i)) values[input] = at::Tensor();
    }
    for (const graph::ValueId output : node.outputs) {
      if (last_use_[output] < 0) values[output] = at::Tensor();
    }
  }

  std::vector<graph::Node> nodes_;
  std::vector<graph::ValueId> inputs_;
  std::vector<graph::ValueId> outputs_;
  size_t value_count_;
  ExecutorOptions options_;
  c10::Device device_;
  std::unordered_map<std::string, size_t> index_;
  std::vector<NodeParameters> parameters_;                           // by node
  std::vector<at::Tensor> weights_;                                  // by node, fake-quantized
  std::vector<graph::ConvQuantization> quantization_;                // by node
  std::vector<std::optional<graph::Quantizer>> value_quantization_;  // by value
  std::vector<int> last_use_;                                        // by value
  Tap tap_;
  std::vector<bool> tapped_;
  int64_t last_tap_ = -1;
  bool stop_after_taps_ = false;
};

Executor::Executor(const graph::Graph& graph, const ExecutorOptions& options)
    : impl_(std::make_unique<Impl>(graph, options)) {}
Executor::~Executor() = default;
Executor::Executor(Executor&&) noexcept = default;
Executor& Executor::operator=(Executor&&) noexcept = default;

std::vector<Tensor> Executor::run(const std::vector<Tensor>& inputs) {
  std::vector<at::Tensor> tensors;
  for (const Tensor& input : inputs) tensors.push_back(view_of(input));
  std::vector<Tensor> results;
  for (const at::Tensor& output : impl_->run(tensors)) {
    results.push_back(to_host(output.is_floating_point() ? output.to(at::kFloat) : output));
  }
  return results;
}

std::vector<at::Tensor> Executor::run(const std::vector<at::Tensor>& inputs) {
  return impl_->run(inputs);
}

std::vector<at::Tensor> Executor::run_all(const std::vector<at::Tensor>& inputs) {
  return impl_->run_all(inputs);
}

std::vector<at::Tensor> Executor::run_changed(const std::vector<at::Tensor>& values,
                                              const std::vector<std::string>& changed,
                                              const std::vector<graph::ValueId>& wanted) {
  return impl_->run_changed(values, changed, wanted);
}

void Executor::set_tap(Tap tap, const std::vector<std::string>& nodes) {
  impl_->set_tap(std::move(tap), nodes);
}

void Executor::set_stop_after_taps(bool stop) { impl_->set_stop_after_taps(stop); }

void Executor::set_parameter(const std::string& name, const Tensor& value) {
  impl_->set_parameter(name, value);
}

void Executor::set_quantization(const std::string& conv,
                                const graph::ConvQuantization& quantization) {
  impl_->set_quantization(conv, quantization);
}

std::string resolve_device(const std::string& name) { return choose_device(name).str(); }

bool is_fast_in_bfloat16(const std::string& device) {
  if (choose_device(device).is_cuda()) {
    return at::detail::getCUDAHooks().supportsBFloat16ConvolutionWithCuDNNv8();
  }
#if defined(__x86_64__)
  return __builtin_cpu_supports("avx512bf16") != 0;
#else
  return false;
#endif
}

std::string Executor::device() const { return impl_->device().str(); }

void set_threads(int threads) { at::set_num_threads(threads > 0 ? threads : default_threads()); }

std::string torch_version() { return TORCH_VERSION; }

}  // namespace yoloquant::exec

#include "quant/paired_walk.h"

#include <c10/core/InferenceMode.h>

#include "base/error.h"
#include "exec/convert.h"
#include "exec/operators.h"

namespace yoloquant::quant {

namespace {

using Batches = std::vector<at::Tensor>;

at::Tensor tensor_of(const Tensor& value) {
  at::Tensor tensor = exec::view_of(value).clone();
  return tensor.dim() == 4 ? tensor.contiguous(at::MemoryFormat::ChannelsLast) : tensor;
}

exec::NodeParameters parameters_of(const graph::Graph& graph, const graph::Node& node) {
  const auto find = [&](const char* part) {
    const auto found = graph.parameters.find(node.name + part);
    return found == graph.parameters.end() ? at::Tensor() : tensor_of(found->second);
  };
  exec::NodeParameters parameters{find(".weight"), find(".bias"), find(".running_mean"),
                                  find(".running_var"), find(".value")};
  const auto annotation = graph.quantization.find(node.name);
  if (annotation != graph.quantization.end() && annotation->second.weight) {
    const graph::Quantizer& q = *annotation->second.weight;
    parameters.weight =
        tensor_of(dequantize(quantize(graph.parameter(node.name + ".weight"), q), q));
  }
  return parameters;
}

at::Tensor quantized_input(const at::Tensor& x, const graph::Quantizer& q) {
  return exec::fake_quantize(x, q.scale[0], q.zero_point[0], q.qmin, q.qmax);
}

// Values of one of the two graphs, by value and batch.
class Side {
 public:
  Side(const graph::Graph& graph, const Batches& images)
      : graph_(graph), values_(graph.values.size()) {
    values_[graph.inputs.at(0)] = images;
  }

  const Batches& input(const graph::Node& node) const { return values_[node.inputs.at(0)]; }

  // `first_input` replaces the node's first input (a conv's quantized activations).
  void run(const graph::Node& node, size_t batches, const Batches* first_input) {
    const exec::NodeParameters parameters = parameters_of(graph_, node);
    for (const graph::ValueId output : node.outputs) values_[output].resize(batches);
    for (size_t b = 0; b < batches; ++b) {
      std::vector<at::Tensor> inputs;
      for (const graph::ValueId input : node.inputs) inputs.push_back(values_[input][b]);
      if (first_input != nullptr) inputs[0] = (*first_input)[b];
      const std::vector<at::Tensor> outputs = exec::apply(node, parameters, inputs);
      for (size_t k = 0; k < outputs.size(); ++k) values_[node.outputs[k]][b] = outputs[k];
    }
  }

  void free(graph::ValueId value) { values_[value] = {}; }

 private:
  const graph::Graph& graph_;
  std::vector<Batches> values_;
};

}  // namespace

void walk_pairs(const graph::Graph& reference, const graph::Graph& annotated,
                CalibrationData& images, const PairedWalkOptions& options,
                const std::function<bool(const PairedInput&)>& visit) {
  if (reference.nodes.size() != annotated.nodes.size()) fail("the two graphs have different nodes");
  const c10::InferenceMode guard;
  const int64_t count =
      options.images > 0 ? std::min(options.images, images.size()) : images.size();
  Batches batches;
  images.for_each_batch(0, count, options.batch,
                        [&](const Tensor& batch) { batches.push_back(tensor_of(batch)); });
  Side fp(reference, batches);
  Side q(annotated, batches);
  const std::vector<std::vector<int>> consumers = annotated.consumers();
  for (size_t i = 0; i < annotated.nodes.size(); ++i) {
    const graph::Node& node = annotated.nodes[i];
    const auto annotation = annotated.quantization.find(node.name);
    const bool is_annotated = annotation != annotated.quantization.end();
    Batches rounded;
    if (is_annotated && annotation->second.input) {
      for (const at::Tensor& x : q.input(node)) {
        rounded.push_back(quantized_input(x, *annotation->second.input));
      }
    }
    const Batches* input = rounded.empty() ? nullptr : &rounded;
    if (is_annotated && annotation->second.weight &&
        !visit({node, fp.input(node), input != nullptr ? *input : q.input(node)})) {
      return;
    }
    fp.run(node, batches.size(), nullptr);
    q.run(node, batches.size(), input);
    for (const graph::ValueId value : node.inputs) {
      if (consumers[value].back() == static_cast<int>(i)) {
        fp.free(value);
        q.free(value);
      }
    }
  }
}

}  // namespace yoloquant::quant

#include "quant/annotation_file.h"

#include "base/error.h"
#include "checkpoint/safetensors.h"

namespace yoloquant::quant {

namespace {

constexpr const char* kKind = "yoloquant annotations";
constexpr const char* kWeight = ".weight_quantizer";
constexpr const char* kInput = ".input_quantizer";

template <typename T>
Tensor to_tensor(const std::vector<T>& values) {
  return Tensor::from<T>({static_cast<int64_t>(values.size())}, values);
}

void put(TensorMap& tensors, const std::string& name,
         const std::optional<graph::Quantizer>& quantizer) {
  if (!quantizer) return;
  tensors[name + ".scale"] = to_tensor(quantizer->scale);
  tensors[name + ".zero_point"] = to_tensor(quantizer->zero_point);
  tensors[name + ".form"] =
      to_tensor<int32_t>({quantizer->bits, quantizer->qmin, quantizer->qmax, quantizer->axis});
}

template <typename T>
std::vector<T> values_of(const TensorMap& tensors, const std::string& name, DType type) {
  const auto found = tensors.find(name);
  if (found == tensors.end()) fail("{} is missing", name);
  if (found->second.dtype() != type || found->second.shape().size() != 1) {
    fail("{} has another type or shape than it should have", name);
  }
  const auto values = found->second.data<T>();
  return {values.begin(), values.end()};
}

std::optional<graph::Quantizer> take(const TensorMap& tensors, const std::string& name,
                                     const Shape& shape) {
  if (!tensors.contains(name + ".form")) return std::nullopt;
  const std::vector<int32_t> form = values_of<int32_t>(tensors, name + ".form", DType::kInt32);
  if (form.size() != 4) fail("{}.form has {} numbers", name, form.size());
  graph::Quantizer quantizer{
      .bits = form[0],
      .qmin = form[1],
      .qmax = form[2],
      .axis = form[3],
      .scale = values_of<float>(tensors, name + ".scale", DType::kFloat32),
      .zero_point = values_of<int32_t>(tensors, name + ".zero_point", DType::kInt32)};
  with_context(name, [&] { graph::check(quantizer, shape); });
  return quantizer;
}

void take_parameter(graph::Graph& graph, const std::string& name, const TensorMap& tensors) {
  const auto found = tensors.find(name);
  if (found == tensors.end()) return;
  Tensor& parameter = graph.parameters.at(name);
  if (found->second.dtype() != parameter.dtype() || found->second.shape() != parameter.shape()) {
    fail("{} has another shape in the model", name);
  }
  parameter = found->second;
}

}  // namespace

void write_annotations(const std::filesystem::path& path, const graph::Graph& annotated) {
  checkpoint::Safetensors file;
  file.metadata["kind"] = kKind;
  for (const auto& [conv, annotation] : annotated.quantization) {
    for (const char* part : {".weight", ".bias"}) {
      const auto found = annotated.parameters.find(conv + part);
      if (found != annotated.parameters.end()) file.tensors[conv + part] = found->second;
    }
    put(file.tensors, conv + kWeight, annotation.weight);
    put(file.tensors, conv + kInput, annotation.input);
  }
  checkpoint::write_safetensors(path, file);
}

graph::Graph read_annotations(const std::filesystem::path& path, graph::Graph inference) {
  checkpoint::Safetensors file = checkpoint::read_safetensors(path);
  with_context(path.string(), [&] {
    if (file.metadata["kind"] != kKind) fail("holds no annotations of a quantized model");
    for (const graph::Node& node : inference.nodes) {
      if (!std::holds_alternative<graph::Conv>(node.op)) continue;
      const std::string& conv = node.name;
      const Shape& weight = inference.parameter(conv + ".weight").shape();
      const Shape& input = inference.values.at(static_cast<size_t>(node.inputs.at(0))).shape;
      graph::ConvQuantization annotation{.weight = take(file.tensors, conv + kWeight, weight),
                                         .input = take(file.tensors, conv + kInput, input)};
      if (!annotation.weight && !annotation.input) continue;
      for (const char* part : {".weight", ".bias"}) {
        if (inference.parameters.contains(conv + part)) {
          take_parameter(inference, conv + part, file.tensors);
        }
      }
      inference.quantization[conv] = std::move(annotation);
    }
    if (inference.quantization.empty()) fail("holds no conv of the model");
  });
  return inference;
}

}  // namespace yoloquant::quant

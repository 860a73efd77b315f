#include "quant/method_state.h"

#include "base/error.h"
#include "checkpoint/safetensors.h"

namespace yoloquant::quant {

namespace {

const std::string kGraph = "graph/";
const std::string kPrefix = "method/";
const std::string kPlace = "place";
const std::string kCount = "count";

// The parameters that methods change, by the name they have in the file.
template <typename Visit>
void each_parameter(const graph::Graph& graph, Visit visit) {
  for (const auto& [conv, annotation] : graph.quantization) {
    if (!annotation.weight) continue;
    for (const char* part : {".weight", ".bias"}) {
      if (graph.parameters.contains(conv + part)) visit(conv + part);
    }
  }
}

void put(graph::Graph& graph, const std::string& name, const Tensor& value,
         const std::filesystem::path& path) {
  Tensor& parameter = graph.parameters.at(name);
  if (value.dtype() != parameter.dtype() || value.shape() != parameter.shape()) {
    fail("{}: {} does not fit the model; delete the file to start again", path.string(), name);
  }
  parameter = value;
}

}  // namespace

MethodState::MethodState(std::filesystem::path path, std::string fingerprint)
    : file_(std::move(path), std::move(fingerprint)) {}

size_t MethodState::resume(graph::Graph& annotated) {
  if (!file_.exists()) return 0;
  const std::filesystem::path& path = file_.path();
  checkpoint::Safetensors file = checkpoint::read_safetensors(path);
  file_.expect_own(file.metadata["fingerprint"]);
  const auto find = [&](const std::string& name) -> const Tensor& {
    const auto found = file.tensors.find(kGraph + name);
    if (found == file.tensors.end()) {
      fail("{} has no {}; delete it to start again", path.string(), name);
    }
    return found->second;
  };
  each_parameter(annotated,
                 [&](const std::string& name) { put(annotated, name, find(name), path); });
  for (auto& [conv, annotation] : annotated.quantization) {
    if (!annotation.weight) continue;
    const Tensor& scale = find(conv + ".scale");
    std::vector<float>& target = annotation.weight->scale;
    if (scale.dtype() != DType::kFloat32 || scale.size() != static_cast<int64_t>(target.size())) {
      fail("{}: the scales of {} do not fit; delete the file to start again", path.string(), conv);
    }
    target.assign(scale.data<float>().begin(), scale.data<float>().end());
  }
  const auto place = file.tensors.find(kPlace);
  if (place == file.tensors.end() || place->second.dtype() != DType::kInt64 ||
      place->second.size() != 1 || place->second.data<int64_t>()[0] < 0) {
    fail("{} is damaged; delete it to start again", path.string());
  }
  place_ = static_cast<size_t>(place->second.data<int64_t>()[0]);
  TensorMap own;
  for (auto& [name, tensor] : file.tensors) {
    if (name.starts_with(kPrefix)) own[name.substr(kPrefix.size())] = std::move(tensor);
  }
  if (!own.empty()) pending_ = std::move(own);
  return place_;
}

std::optional<TensorMap> MethodState::take() {
  std::optional<TensorMap> result = std::move(pending_);
  pending_.reset();
  return result;
}

void MethodState::save(const graph::Graph& annotated, const TensorMap& own) const {
  if (!enabled()) return;
  checkpoint::Safetensors file;
  each_parameter(annotated, [&](const std::string& name) {
    file.tensors[kGraph + name] = annotated.parameter(name);
  });
  for (const auto& [conv, annotation] : annotated.quantization) {
    if (!annotation.weight) continue;
    const std::vector<float>& scale = annotation.weight->scale;
    file.tensors[kGraph + conv + ".scale"] =
        Tensor::from<float>({static_cast<int64_t>(scale.size())}, scale);
  }
  for (const auto& [name, tensor] : own) file.tensors[kPrefix + name] = tensor;
  file.tensors[kPlace] =
      Tensor::from<int64_t>({1}, std::vector<int64_t>{static_cast<int64_t>(place_)});
  file.metadata["fingerprint"] = file_.fingerprint();
  checkpoint::write_safetensors(file_.path(), file);
}

int64_t take_count(MethodState* state, int64_t most) {
  if (state == nullptr) return 0;
  const std::optional<TensorMap> saved = state->take();
  if (!saved) return 0;
  const auto found = saved->find(kCount);
  const bool is_count =
      found != saved->end() && found->second.dtype() == DType::kInt64 && found->second.size() == 1;
  const int64_t count = is_count ? found->second.data<int64_t>()[0] : -1;
  if (count < 0 || count > most) fail("the saved state does not fit; start without --resume");
  return count;
}

void save_count(const MethodState* state, const graph::Graph& annotated, int64_t count) {
  if (state == nullptr) return;
  state->save(annotated, {{kCount, Tensor::from<int64_t>({1}, std::vector<int64_t>{count})}});
}

}  // namespace yoloquant::quant

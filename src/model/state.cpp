#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/error.h"
#include "base/random.h"
#include "model/model.h"

namespace yoloquant::model {

namespace {

// The one2one head's DFL projection is the same module as the one2many head's.
constexpr std::string_view kSecondDfl = "one2one_dfl.";

bool is_state(const std::string& name) {
  return !name.ends_with(".value") && name.find(kSecondDfl) == std::string::npos;
}

std::string first_few(const std::vector<std::string>& keys) {
  constexpr size_t kShown = 5;
  const std::vector<std::string> shown(keys.begin(), keys.begin() + std::min(keys.size(), kShown));
  return fmt::format("{}{}", fmt::join(shown, ", "),
                     keys.size() > kShown ? fmt::format(" and {} more", keys.size() - kShown) : "");
}

bool ends_with_any(const std::string& name, std::initializer_list<std::string_view> endings) {
  return std::ranges::any_of(endings, [&](std::string_view e) { return name.ends_with(e); });
}

int64_t fan_in(const Shape& shape) {
  int64_t product = 1;
  for (size_t i = 1; i < shape.size(); ++i) product *= shape[i];
  return product;
}

}  // namespace

void load_state(graph::Graph& graph, const TensorMap& state) {
  std::vector<std::string> missing;
  std::vector<std::string> misshapen;
  std::vector<std::string> unexpected;
  for (auto& [name, parameter] : graph.parameters) {
    if (!is_state(name)) continue;
    const auto found = state.find(name);
    if (found == state.end()) {
      if (!name.ends_with(".num_batches_tracked")) missing.push_back(name);
    } else if (found->second.shape() != parameter.shape()) {
      misshapen.push_back(fmt::format("{} is {} instead of {}", name,
                                      shape_string(found->second.shape()),
                                      shape_string(parameter.shape())));
    } else {
      parameter = parameter.dtype() == DType::kInt64 ? found->second : found->second.to_float32();
    }
  }
  // One module in Ultralytics' model, two nodes in the graph.
  for (auto& [name, parameter] : graph.parameters) {
    const size_t at = name.find(kSecondDfl);
    if (at == std::string::npos) continue;
    std::string first = name;
    parameter = graph.parameter(first.erase(at, kSecondDfl.find("dfl.")));
  }
  for (const auto& [name, value] : state) {
    if (!graph.parameters.contains(name)) unexpected.push_back(name);
  }
  if (!missing.empty()) fail("the weights lack {}", first_few(missing));
  if (!misshapen.empty()) fail("the weights do not fit the model: {}", first_few(misshapen));
  if (!unexpected.empty()) fail("the model has no place for {}", first_few(unexpected));
}

TensorMap state_dict(const graph::Graph& graph) {
  TensorMap state;
  for (const auto& [name, parameter] : graph.parameters) {
    if (is_state(name)) state.emplace(name, parameter);
  }
  return state;
}

int64_t parameter_count(const graph::Graph& graph) {
  int64_t count = 0;
  for (const auto& [name, parameter] : state_dict(graph)) {
    if (ends_with_any(name, {".weight", ".bias"})) count += parameter.size();
  }
  return count;
}

void initialize(graph::Graph& graph, uint64_t seed) {
  int64_t largest = 0;
  for (const int64_t stride : graph.metadata.strides) largest = std::max(largest, stride);
  const auto classes = static_cast<double>(graph.metadata.names.size());
  for (const graph::Node& node : graph.nodes) {
    if (std::holds_alternative<graph::BatchNorm>(node.op)) {
      for (const char* part : {".weight", ".running_var"}) {
        std::ranges::fill(graph.parameters.at(node.name + part).mutable_data<float>(), 1.0F);
      }
      continue;
    }
    const auto* conv = std::get_if<graph::Conv>(&node.op);
    if (conv == nullptr || node.name.ends_with("dfl.conv")) continue;
    Tensor& weight = graph.parameters.at(node.name + ".weight");
    Random random(fnv1a64(node.name) ^ splitmix64_mix(seed + 1));
    const auto bound =
        static_cast<float>(1 / std::sqrt(static_cast<double>(fan_in(weight.shape()))));
    for (float& value : weight.mutable_data<float>()) value = random.uniform(-bound, bound);
    if (!conv->has_bias) continue;
    // v10Detect.bias_init: boxes 1, classes so that about 5 objects are expected in 640 pixels.
    float value = 1;
    if (node.name.find("cv3.") != std::string::npos) {
      const auto level = static_cast<size_t>(node.name[node.name.find("cv3.") + 4] - '0');
      const double cells = 640.0 / static_cast<double>(graph.metadata.strides.at(level));
      value = static_cast<float>(std::log(5 / classes / (cells * cells)));
    }
    std::ranges::fill(graph.parameters.at(node.name + ".bias").mutable_data<float>(), value);
  }
}

Tensor formula_tensor(const std::string& name, const Shape& shape) {
  Tensor tensor(DType::kFloat32, shape);
  Random random(fnv1a64(name));
  for (float& value : tensor.mutable_data<float>()) value = random.uniform();
  return tensor;
}

void set_formula_parameters(graph::Graph& graph) {
  for (auto& [name, parameter] : graph.parameters) {
    if (!is_state(name) || name.find("dfl.") != std::string::npos) continue;
    if (parameter.dtype() == DType::kInt64) {
      std::ranges::fill(parameter.mutable_data<int64_t>(), 1);
      continue;
    }
    parameter = formula_tensor(name, parameter.shape());
    const bool norm = name.find(".bn.") != std::string::npos;
    for (float& value : parameter.mutable_data<float>()) {
      const double u = value;
      double result = 0;
      if (name.ends_with(".running_var")) {
        result = 0.5 + u;
      } else if (name.ends_with(".running_mean")) {
        result = u - 0.5;
      } else if (name.ends_with(".bias")) {
        result = 0.2 * (u - 0.5);
      } else if (norm) {
        result = 0.75 + 0.5 * u;
      } else {
        result = (2 * u - 1) * std::sqrt(4.0 / static_cast<double>(fan_in(parameter.shape())));
      }
      value = static_cast<float>(result);
    }
  }
}

}  // namespace yoloquant::model

#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/random.h"
#include "graph/graph.h"
#include "quant/calibration_data.h"

// Small models and images for the tests of this layer.
namespace yoloquant::quant {

inline Tensor random_tensor(const Shape& shape, uint64_t seed, float low, float high) {
  Random random(seed);
  Tensor tensor(DType::kFloat32, shape);
  for (float& x : tensor.mutable_data<float>()) x = random.uniform(low, high);
  return tensor;
}

inline graph::ValueId add_conv(graph::Graph& graph, const std::string& name, graph::ValueId input,
                               int64_t in, int64_t out, int64_t kernel) {
  graph::Conv conv;
  conv.padding = {kernel / 2, kernel / 2, kernel / 2, kernel / 2};
  conv.has_bias = true;
  const float size = 1.5F / static_cast<float>(kernel);
  graph.parameters[name + ".weight"] =
      random_tensor({out, in, kernel, kernel}, fnv1a64(name), -size, size);
  graph.parameters[name + ".bias"] = random_tensor({out}, fnv1a64(name) + 1, -0.1F, 0.1F);
  return graph.add_node(name, conv, {input});
}

// images -> stem.conv -> SiLU -> (left.conv, right.conv; one input) -> add -> SiLU -> last.conv
inline graph::Graph small_graph() {
  graph::Graph graph;
  const graph::ValueId image = graph.add_value("images");
  graph.values[image].shape = {1, 3, 32, 32};
  graph.inputs = {image};
  const auto silu = [&](const std::string& name, graph::ValueId value) {
    return graph.add_node(name, graph::Activation{}, {value});
  };
  const auto stem = silu("stem.act", add_conv(graph, "stem.conv", image, 3, 16, 3));
  const auto left = add_conv(graph, "left.conv", stem, 16, 8, 1);
  const auto right = add_conv(graph, "right.conv", stem, 16, 8, 3);
  const auto sum = silu("sum.act", graph.add_node("sum", graph::Elementwise{}, {left, right}));
  graph.outputs = {add_conv(graph, "last.conv", sum, 8, 4, 1)};
  graph::infer_shapes(graph);
  graph::check(graph);
  return graph;
}

// Images made anew from their number at each pass.
class MadeImages : public CalibrationData {
 public:
  MadeImages(int64_t count, int64_t side) : count_(count), side_(side) {}

  using CalibrationData::for_each_batch;
  int64_t size() const override { return count_; }
  void for_each_batch(int64_t first, int64_t last, int batch,
                      const std::function<void(const Tensor&)>& body) override {
    for (int64_t i = first; i < last; i += batch) {
      const int64_t images = std::min<int64_t>(batch, last - i);
      Tensor tensor(DType::kFloat32, {images, 3, side_, side_});
      const auto values = tensor.mutable_data<float>();
      const size_t image = values.size() / static_cast<size_t>(images);
      for (size_t j = 0; j < values.size(); ++j) {
        Random random(static_cast<uint64_t>(i) * image + j);
        values[j] = random.uniform();
      }
      body(tensor);
    }
  }

 private:
  int64_t count_;
  int64_t side_;
};

}  // namespace yoloquant::quant

#pragma once

#include <string>
#include <vector>

#include "graph/graph.h"
#include "model/definition.h"

// Internal to the layer: what the block builders share.
namespace yoloquant::model {

using graph::ValueId;

// Adds operators to a graph and keeps track of channels.
class Builder {
 public:
  explicit Builder(graph::Graph& graph) : graph_(graph) {}

  graph::Graph& graph() { return graph_; }
  int64_t channels(ValueId value) const { return channels_.at(static_cast<size_t>(value)); }

  ValueId input(const std::string& name, int64_t channels, int64_t height, int64_t width);

  // Bare convolution NAME; `padding` on all sides.
  struct ConvSpec {
    int64_t out = 0;
    int64_t kernel = 1;
    int64_t stride = 1;
    int64_t groups = 1;
    bool activation = true;  // of conv_block
  };
  ValueId conv(const std::string& name, ValueId x, const ConvSpec& spec, bool bias);
  // Ultralytics Conv: NAME.conv, NAME.bn and SiLU, padded to keep the extent at stride 1.
  ValueId conv_block(const std::string& name, ValueId x, const ConvSpec& spec);

  ValueId activation(const std::string& name, ValueId x, graph::ActivationKind kind);
  ValueId elementwise(const std::string& name, graph::ElementwiseKind kind, ValueId a, ValueId b);
  ValueId concat(const std::string& name, const std::vector<ValueId>& parts, int64_t axis = 1);
  std::vector<ValueId> split(const std::string& name, ValueId x, std::vector<int64_t> sizes,
                             int64_t axis = 1);
  ValueId max_pool(const std::string& name, ValueId x, int64_t kernel, int64_t stride);
  ValueId upsample(const std::string& name, ValueId x, int64_t factor);
  ValueId reshape(const std::string& name, ValueId x, std::vector<int64_t> shape, int64_t channels,
                  ValueId reference = -1);
  ValueId transpose(const std::string& name, ValueId x, std::vector<int64_t> permutation);
  ValueId matmul(const std::string& name, ValueId a, ValueId b);
  ValueId softmax(const std::string& name, ValueId x, int64_t axis);
  ValueId constant(const std::string& name, Tensor value);

  // Says how many channels a value has that was added to the graph directly.
  ValueId note_channels(ValueId value, int64_t channels);

 private:
  graph::Graph& graph_;
  std::vector<int64_t> channels_;  // by value
};

// Blocks of YOLOv10, each after the Ultralytics module of the same name. `name` is the module path.
ValueId add_bottleneck(Builder& b, const std::string& name, ValueId x, int64_t out, bool shortcut);
ValueId add_c2f(Builder& b, const std::string& name, ValueId x, int64_t out, int64_t repeats,
                bool shortcut);
ValueId add_cib(Builder& b, const std::string& name, ValueId x, int64_t out, bool shortcut,
                bool large_kernel);
ValueId add_c2f_cib(Builder& b, const std::string& name, ValueId x, int64_t out, int64_t repeats,
                    bool shortcut, bool large_kernel);
ValueId add_rep_vgg_dw(Builder& b, const std::string& name, ValueId x);
ValueId add_sc_down(Builder& b, const std::string& name, ValueId x, int64_t out, int64_t kernel,
                    int64_t stride);
ValueId add_sppf(Builder& b, const std::string& name, ValueId x, int64_t out, int64_t kernel);
ValueId add_psa(Builder& b, const std::string& name, ValueId x, int64_t out);

// v10Detect: both heads decoded, as graph outputs "one2many" and "one2one".
void add_v10_detect(Builder& b, const std::string& name, const std::vector<ValueId>& features,
                    int64_t class_count);

}  // namespace yoloquant::model

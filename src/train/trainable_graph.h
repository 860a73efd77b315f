#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "exec/named_tensors.h"
#include "exec/operators.h"
#include "graph/detection_head.h"
#include "graph/graph.h"
#include "train/batch_norm.h"

namespace yoloquant::train {

using exec::NamedTensors;

// One head before decoding, its levels joined along the A anchor points.
struct HeadLogits {
  at::Tensor boxes;    // [N, bins, 4, A]: distribution of the distance to left, top, right, bottom
  at::Tensor classes;  // [N, C, A]
};

// Where the A predictions of an image lie, level by level, row by row.
struct Anchors {
  at::Tensor points;   // [2, A]: x and y of the cell centres, in cells of their level
  at::Tensor strides;  // [A]: pixels per cell
};

struct Logits {
  HeadLogits one2many;
  HeadLogits one2one;
  Anchors anchors;
};

// A conv about to run, for what quantization-aware training does to it.
struct ConvSite {
  const std::string& name;
  // The batch norm that alone reads the conv, and its parameters; nullptr: none. What folds it in
  // multiplies output channel o by weight[o] / sqrt(running_var[o] + eps).
  const graph::BatchNorm* norm = nullptr;
  const exec::NodeParameters* norm_parameters = nullptr;
};
struct ConvArguments {
  at::Tensor input;
  at::Tensor weight;
};
// Gives what the conv computes with instead, differentiably.
using ConvHook = std::function<ConvArguments(const ConvSite& site, ConvArguments arguments)>;

// What a batch norm in training mode does instead: input [N, C, H, W] -> output of the same shape,
// differentiably; it also moves the running statistics in `parameters`.
using NormHook = std::function<at::Tensor(const at::Tensor& input, const graph::BatchNorm& norm,
                                          const exec::NodeParameters& parameters)>;

// A training graph (both heads, batch norms not folded: model::build) that LibTorch differentiates.
// The one2one head reads its features detached, so that it does not train what it shares with the
// one2many head (Wang et al. 2024, THU-MIG v10Detect.forward_feat).
class TrainableGraph {
 public:
  // Copies the graph's parameters to `device` ("cpu", "cuda:0"). Throws Error (usage) when the
  // graph has not both heads.
  explicit TrainableGraph(const graph::Graph& graph, const std::string& device = "cpu");

  // Images [N, 3, H, W] float32 on the device, RGB in [0, 1], H and W multiples of the largest
  // stride. On the CPU the model runs channels last (see batch_norm.h).
  Logits forward(const at::Tensor& images, NormMode mode);

  // What it was made from; parameters as they were then.
  const graph::Graph& graph() const { return graph_; }

  void set_conv_hook(ConvHook hook) { hook_ = std::move(hook); }
  void set_norm_hook(NormHook hook) { norm_hook_ = std::move(hook); }

  // By Ultralytics' names ("model.0.conv.weight"): float32 tensors that require gradients, and
  // running_mean, running_var and num_batches_tracked of the batch norms.
  const NamedTensors& parameters() const { return parameters_; }
  const NamedTensors& buffers() const { return buffers_; }
  // The tensors of parameters() in the order in which forward uses them.
  std::vector<at::Tensor> parameters_in_order() const;
  // Both.
  NamedTensors state() const;
  // Names in parameters() of the scales and shifts of batch norms.
  bool is_norm(const std::string& parameter) const;

  // Reads all values from a graph of the same model, or writes them into one.
  void load(const graph::Graph& graph);
  void store(graph::Graph& graph) const;

 private:
  struct Step {
    size_t node = 0;
    size_t end = 0;            // node that gives the outputs: of a batch norm, the SiLU behind it
    std::vector<bool> detach;  // by input
    int norm = -1;             // of a conv: index of its batch norm's step
    bool is_norm = false;
    bool has_silu() const { return end != node; }
    std::vector<graph::ValueId> release;  // values that nobody reads later
    exec::NodeParameters parameters;
    at::Tensor batches;  // num_batches_tracked of a batch norm; undefined when it has none
  };

  void plan();
  void load_parameters(const std::string& device);
  std::vector<at::Tensor> run(const Step& step, std::vector<at::Tensor> inputs,
                              NormMode mode) const;
  at::Tensor run_norm(const Step& step, const at::Tensor& input, NormMode mode) const;

  graph::Graph graph_;
  graph::DetectionLogits one2many_;
  graph::DetectionLogits one2one_;
  std::vector<graph::ValueId> anchors_;  // points, strides
  std::vector<Step> steps_;              // what the logits need, in order
  NamedTensors parameters_;
  NamedTensors buffers_;
  ConvHook hook_;
  NormHook norm_hook_;
};

}  // namespace yoloquant::train

#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "graph/graph.h"
#include "tensor/tensor.h"
#include "train/layer_statistics.h"
#include "train/norm_estimation.h"
#include "train/optimizer.h"
#include "train/qat_options.h"
#include "train/trainable_graph.h"

namespace yoloquant::train {

// Quantization-aware training of a TrainableGraph: while it lives, the convs of the model compute
// with fake-quantized weights and inputs whose step sizes are learned (lsq.h).
//
// Batch norms are folded inside the quantized weight. With f = gamma / sqrt(running_var + eps) of
// an output channel, what is exported is q(w f; S), and the conv in front of the batch norm
// computes with q(w f; S) / f. As a step belongs to one output channel, with s = S / |f|
//   q(w f; S) / f = q(w; s sign(f))
// to the last code: f cancels. So s is what is trained, and S = s |f| what is exported. Codes then
// do not move when gamma or the running statistics do, no gradient is lost by leaving f out, batch
// norms may be in training mode, and their statistics can be estimated anew in one pass.
//
// The steps of a training run are
//   model.forward(..., norm_mode(progress)), loss (+ penalty(progress)), backward,
//   before_step(progress), clipping, the optimizer's step, after_step(progress),
// with progress in [0, 1] the share of training done, and begin_epoch before each epoch.
class QuantizedTraining {
 public:
  // `annotated` is a quantized inference graph of the same model, its branches kept
  // (quant::quantize_ model of one head or both; or annotate_for_training): it says which convs
  // have which bits, and where steps start. Convs without annotation stay float, as does the head
  // it lacks. REQUIRES: the model outlives this. Throws Error (usage) for options that make no
  // sense and for another model's graph.
  QuantizedTraining(TrainableGraph& model, const graph::Graph& annotated,
                    const QatOptions& options = {});
  ~QuantizedTraining();
  QuantizedTraining(const QuantizedTraining&) = delete;
  QuantizedTraining& operator=(const QuantizedTraining&) = delete;

  // Whether inputs wait for set_input_ranges; until then the model cannot run.
  bool needs_input_ranges() const;
  // Ranges of inputs that have none, from what the batches make of them with quantized weights and
  // float inputs: means of extremes from 7 bits on, least squares below. Leaves running statistics
  // as they were.
  void set_input_ranges(int64_t batches, const ImageBatches& images);

  // Float32 tensors that require gradients, by conv:
  //   CONV.weight_log_step [O], CONV.input_log_step [1]; with learn_zero_points
  //   CONV.input_zero_point [1]; with quantization correction CONV.correction [O] where there is no
  //   batch norm.
  // The averaging of models (quant::ParameterAverage) goes over them as well.
  const NamedTensors& parameters() const { return parameters_; }
  // The same as a group of the optimizer, without weight decay. Its rate is that of the group
  // "weight" times step_rate().
  ParameterGroup parameter_group() const;
  double step_rate() const { return options_.step_rate; }

  // parameters() and all else that is needed to go on, the tensors themselves.
  NamedTensors state() const;
  // Throws Error that names `what` for a state of other layers.
  void load(const TensorMap& state, const std::string& what);

  // Sets the bits of the stage. True when they have changed: steps have jumped, and averages over
  // them must start anew.
  bool begin_epoch(double progress);
  // Added to the loss: dampening. Undefined when there is nothing to add.
  at::Tensor penalty(double progress) const;
  // Takes the gradients from all that correction leaves alone; gathers norms of gradients.
  void before_step(double progress);
  // Follows the codes and freezes weights.
  void after_step(double progress);
  // What batch norms normalize with in training.
  NormMode norm_mode(double progress) const;

  // Since begin_epoch, in the order of the convs. Waits for the device.
  std::vector<LayerStatistics> statistics() const;

  // Writes the model's weights, folded, rounded to their codes, the biases and the quantizers into
  // an inference graph of the model with branches kept, of any head. What the executor computes
  // from it is what the model computes in evaluation mode. Throws Error for steps that are not
  // finite.
  void store(graph::Graph& annotated) const;

 private:
  struct Layers;  // see quantized_layer.h

  ConvArguments quantize(const ConvSite& site, ConvArguments arguments);
  bool correcting(double progress) const;
  int bits_at(double progress, int target) const;
  void collect_parameters();

  TrainableGraph& model_;
  QatOptions options_;
  std::unique_ptr<Layers> layers_;
  NamedTensors parameters_;
  bool observing_ = false;
};

}  // namespace yoloquant::train

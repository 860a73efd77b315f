#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "train/norm_estimation.h"
#include "train/optimizer.h"
#include "train/trainable_graph.h"

// Where a training is extended: quantization, distillation, several processes.
namespace yoloquant::train {

// What a part sees of a batch.
struct BatchView {
  const at::Tensor& images;  // [N, 3, S, S] in [0, 1]
  const Logits& logits;
  double progress = 0;  // of the training, 0..1
};

// Parameters of a part, optimized with those of the model.
struct PartParameters {
  ParameterGroup group;
  size_t rate_of = 1;      // rates are those of the model's biases (0), weights (1) or norms (2)
  double rate_factor = 1;  // times this
};

// Adds to a training. What it has to save is optimized, averaged and saved with the model.
class TrainingPart {
 public:
  virtual ~TrainingPart() = default;

  // First of all: a place for a conv hook. `model` outlives the part's use.
  virtual void attach(TrainableGraph& model) { static_cast<void>(model); }
  // Names in all groups and of all parts differ, also from the model's.
  virtual std::vector<PartParameters> parameters() { return {}; }
  // All that is needed to go on, the parameters included: the tensors themselves.
  virtual NamedTensors state() const { return {}; }
  // Takes it back; `state` may hold more. Throws Error that names `what`.
  virtual void load(const TensorMap& state, const std::string& what) {
    exec::copy_into(this->state(), state, what);
  }

  // Batches of images that prepare() wants before the first one; 0: none. What it makes of them is
  // part of state().
  virtual int64_t batches_to_prepare() const { return 0; }
  virtual void prepare(int64_t batches, const ImageBatches& images) {
    static_cast<void>(batches);
    static_cast<void>(images);
  }
  // `progress` of the training, 0..1. True when parameters have jumped, so that running means over
  // them start anew.
  virtual bool begin_epoch(double progress) {
    static_cast<void>(progress);
    return false;
  }
  // What batch norms normalize with in training; any part can ask for the running statistics.
  virtual NormMode norm_mode(double progress) const {
    static_cast<void>(progress);
    return NormMode::kTraining;
  }
  // A scalar that is added to the loss of the batch's mean image; undefined: nothing.
  virtual at::Tensor penalty(const BatchView& batch) {
    static_cast<void>(batch);
    return {};
  }
  // Around each step of the optimizer: when its gradients are whole, before they are clipped; and
  // before the running mean is updated.
  virtual void before_step(double progress) { static_cast<void>(progress); }
  virtual void after_step(double progress) { static_cast<void>(progress); }
};

// What the processes of a data-parallel training do together.
class RankExchange {
 public:
  virtual ~RankExchange() = default;

  // `more`: what is optimized beside the model's parameters.
  virtual void attach(TrainableGraph& model, const NamedTensors& more) = 0;
  virtual int rank() const = 0;
  virtual int size() const = 0;
  virtual at::Tensor sum_over_ranks(const at::Tensor& values) = 0;
  // Overwrites the tensors of all ranks by those of rank 0.
  virtual void broadcast(const NamedTensors& tensors) = 0;
  // Around each backward pass; after the `last` one of a step, gradients are sums over all ranks.
  virtual void begin_backward(bool last) = 0;
  virtual void finish_backward(bool last) = 0;
};

}  // namespace yoloquant::train

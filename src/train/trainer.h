#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "data/train_loader.h"
#include "graph/graph.h"
#include "tensor/tensor.h"
#include "train/train_options.h"

namespace yoloquant::train {

class TrainingPart;
class RankExchange;

// By kLossNames.
using LossItems = std::array<double, kLossNames.size()>;

// What one batch did, of all processes together.
struct StepReport {
  LossItems losses{};
  double total = 0;  // what was differentiated: the items' sum times the images, and penalties
  // False when the loss, or the gradients of a step, are not finite. Then no step was taken and
  // the gradients are gone. With float16 this happens now and then and the scaler has reacted;
  // otherwise the batch norms may have seen values that are not finite as well: go back to a saved
  // state.
  bool finite = true;
  bool stepped = false;      // the optimizer ran
  double gradient_norm = 0;  // of a step, before clipping
  double loss_scale = 1;
  StepSettings settings;
};

// A batch of images to evaluate on.
struct EvaluationBatch {
  std::span<const float> images;  // [count, 3, size, size], RGB in [0, 1]
  int64_t count = 0;
  int64_t size = 0;
  std::span<const data::BatchLabel> labels;
};
struct Evaluation {
  LossItems losses{};
  // [count, 4 + classes, A] float32, of TrainerOptions::evaluated: for eval::decode_one2one or
  // decode_one2many.
  Tensor detections;
};

// All that a training needs to go on bit for bit.
struct TrainerState {
  TensorMap model;    // see TrainableGraph::state
  TensorMap average;  // the running means of the same names, whole numbers as in `model`
  TensorMap parts;    // of training parts; their running means
  TensorMap part_average;
  TensorMap optimizer;  // see Optimizer::state
  TensorMap gradients;  // of batches that no step has used yet
  TensorMap scaler;
  int64_t iteration = 0;   // batches so far
  int64_t last_step = -1;  // iteration that ended with a step
  int64_t updates = 0;     // of the running mean
};

// The loop's inside: a model, its optimizer, schedule and running mean. Knows nothing of files and
// data sets. Not thread-safe. With several processes each calls the same functions in the same
// order, with its share of each batch; after each step all hold the same state to the bit.
//
//   Trainer trainer(graph, options);
//   trainer.begin_epoch(epoch);
//   while (loader.next(batch)) trainer.step(batch);
//   { Trainer::Averaged averaged(trainer); trainer.evaluate(...); }
class Trainer {
 public:
  // `graph`: both heads, batch norms unfolded (model::build). Throws Error (usage) for options or a
  // graph that make no sense.
  Trainer(const graph::Graph& graph, const TrainerOptions& options,
          std::vector<std::shared_ptr<TrainingPart>> parts = {},
          std::shared_ptr<RankExchange> exchange = nullptr);
  ~Trainer();
  Trainer(Trainer&&) noexcept;
  Trainer& operator=(Trainer&&) noexcept;

  // Before the first batch of a new training: so many batches, which parts prepare with.
  int64_t batches_to_prepare() const;
  void prepare(std::span<const data::TrainBatch> batches);

  // True when parameters have jumped (other bits from here on): figures from before say nothing
  // about what comes.
  bool begin_epoch(int64_t epoch);

  // What all learning rates of the schedule are multiplied by; 1 at the start, and not part of the
  // state.
  void set_rate_factor(double factor);

  // Loss and gradients of a batch; when enough batches have added up, a step: gradients are
  // unscaled, clipped and used, and the running mean is updated. Throws Error for a batch whose
  // labels are out of range.
  StepReport step(const data::TrainBatch& batch);

  // Replaces the running statistics of batch norms by those of these batches (norm_estimation.h):
  // of the running means while there is an Averaged, which keep them then.
  void estimate_norms(std::span<const data::TrainBatch> batches);

  // Losses and detections with the running statistics; nothing changes.
  Evaluation evaluate(const EvaluationBatch& batch);

  // While it lives, the model holds its running means: what is validated and saved.
  class Averaged {
   public:
    explicit Averaged(Trainer& trainer);
    ~Averaged();
    Averaged(const Averaged&) = delete;
    Averaged& operator=(const Averaged&) = delete;

   private:
    Trainer& trainer_;
  };

  int64_t iteration() const;
  // With several processes, all must call it: gradients that no step has used are summed.
  TrainerState state() const;
  // Throws Error that names what does not fit; the trainer is not to be used then.
  void load(const TrainerState& state);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace yoloquant::train

#include "train/qat.h"

#include <ATen/core/grad_mode.h>

#include <utility>

#include "base/error.h"
#include "train/distillation.h"
#include "train/quantized_training.h"
#include "train/training_part.h"

namespace yoloquant::train {

namespace {

// Batches of images that ranges of inputs are first taken from.
constexpr int64_t kRangeBatches = 4;

class Distillation : public TrainingPart {
 public:
  Distillation(const graph::Graph& teacher, const std::string& device,
               const DistillationOptions& options)
      : teacher_(teacher, device), options_(options) {}

  at::Tensor penalty(const BatchView& batch) override {
    Logits wanted;
    {
      const at::NoGradGuard guard;
      wanted = teacher_.forward(batch.images, NormMode::kEvaluation);
    }
    const int64_t pixels = batch.images.size(2) * batch.images.size(3);
    return distillation_loss(batch.logits, wanted, pixels, options_)
        .div(static_cast<double>(batch.images.size(0)));
  }

 private:
  TrainableGraph teacher_;
  DistillationOptions options_;
};

}  // namespace

class Qat::Part : public TrainingPart {
 public:
  Part(graph::Graph annotated, const QatOptions& options)
      : annotated_(std::move(annotated)), options_(options) {}

  void attach(TrainableGraph& model) override { training_.emplace(model, annotated_, options_); }

  std::vector<PartParameters> parameters() override {
    return {{.group = training_->parameter_group(),
             .rate_of = 1,
             .rate_factor = training_->step_rate()}};
  }
  NamedTensors state() const override { return training_->state(); }

  int64_t batches_to_prepare() const override {
    return training_->needs_input_ranges() ? kRangeBatches : 0;
  }
  void prepare(int64_t batches, const ImageBatches& images) override {
    training_->set_input_ranges(batches, images);
  }

  bool begin_epoch(double progress) override { return training_->begin_epoch(progress); }
  NormMode norm_mode(double progress) const override { return training_->norm_mode(progress); }
  at::Tensor penalty(const BatchView& batch) override { return training_->penalty(batch.progress); }
  void before_step(double progress) override { training_->before_step(progress); }
  void after_step(double progress) override { training_->after_step(progress); }
  void load(const TensorMap& state, const std::string& what) override {
    training_->load(state, what);
  }

  const QuantizedTraining& training() const {
    if (!training_) fail("the quantizers have no model yet");
    return *training_;
  }

 private:
  graph::Graph annotated_;
  QatOptions options_;
  std::optional<QuantizedTraining> training_;
};

Qat::Qat(graph::Graph annotated, const QatOptions& options)
    : part_(std::make_shared<Part>(std::move(annotated), options)) {
  check(options);
}
Qat::~Qat() = default;

std::shared_ptr<TrainingPart> Qat::part() const { return part_; }
std::vector<LayerStatistics> Qat::statistics() const { return part_->training().statistics(); }
void Qat::store(graph::Graph& annotated) const { part_->training().store(annotated); }

std::shared_ptr<TrainingPart> distillation_part(const graph::Graph& teacher,
                                                const std::string& device,
                                                const DistillationOptions& options) {
  return std::make_shared<Distillation>(teacher, device, options);
}

}  // namespace yoloquant::train

#include "train/trainer.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "base/error.h"
#include "exec/convert.h"
#include "train/amp.h"
#include "train/batch_tensors.h"
#include "train/boxes.h"
#include "train/ema.h"
#include "train/loss.h"
#include "train/training_part.h"

namespace yoloquant::train {

namespace {

LossItems to_items(const at::Tensor& items) {
  const Tensor host = exec::to_host(items.to(at::kDouble));
  LossItems result{};
  std::copy_n(host.data<double>().begin(), result.size(), result.begin());
  return result;
}

void merge(NamedTensors& into, const NamedTensors& more) {
  for (const auto& [name, tensor] : more) {
    if (!into.emplace(name, tensor).second) fail("two tensors of a training are called {}", name);
  }
}

// Boxes cxcywh in pixels, then scores: [N, 4 + C, A].
at::Tensor raw_output(const HeadLogits& head, const Anchors& anchors) {
  const at::Tensor corners =
      decode_boxes(head.boxes.to(at::kFloat), anchors.points, anchors.strides);
  const at::Tensor from = corners.slice(2, 0, 2);
  const at::Tensor to = corners.slice(2, 2, 4);
  const at::Tensor boxes = at::cat({from.add(to).mul(0.5), to.sub(from)}, 2).permute({0, 2, 1});
  return at::cat({boxes, at::sigmoid(head.classes.to(at::kFloat))}, 1);
}

// Of the first output, [N, 4 + C, A].
int64_t classes_of(const graph::Graph& graph) {
  return graph.values.at(static_cast<size_t>(graph.outputs.at(0))).shape.at(1) - 4;
}

LossOptions loss_options(const TrainerOptions& options) {
  LossOptions loss;
  loss.box = options.box;
  loss.classes = options.classes;
  loss.dfl = options.dfl;
  return loss;
}

}  // namespace

class Trainer::Impl {
 public:
  Impl(const graph::Graph& graph, const TrainerOptions& options,
       std::vector<std::shared_ptr<TrainingPart>> parts, std::shared_ptr<RankExchange> exchange)
      : options_(checked(options)),
        schedule_(options.schedule),
        model_(graph, options.device),
        classes_(classes_of(graph)),
        parts_(std::move(parts)),
        exchange_(std::move(exchange)),
        optimizer_(options.optimizer, make_groups()),
        ema_(make_ema(averaged(), options.ema_decay, options.ema_tau)),
        scaler_(options.precision == Precision::kFloat16, options.device),
        loss_(loss_options(options)) {
    if (exchange_ == nullptr) return;
    exchange_->attach(model_, part_parameters_);
    loss_.sum_over_ranks = [this](const at::Tensor& values) {
      return exchange_->sum_over_ranks(values);
    };
    take_from_first_rank();
  }

  int64_t batches_to_prepare() const {
    int64_t most = 0;
    for (const auto& part : parts_) most = std::max(most, part->batches_to_prepare());
    return most;
  }

  void prepare(std::span<const data::TrainBatch> batches) {
    for (const auto& part : parts_) {
      const int64_t wanted = part->batches_to_prepare();
      if (wanted > 0) part->prepare(wanted, images_of(batches));
    }
    take_from_first_rank();
    restart_average();
  }

  bool begin_epoch(int64_t epoch) {
    const double progress =
        static_cast<double>(epoch) / static_cast<double>(options_.schedule.epochs);
    bool restart = false;
    for (const auto& part : parts_) restart = part->begin_epoch(progress) || restart;
    if (restart) restart_average();
    return restart;
  }

  void estimate_norms(std::span<const data::TrainBatch> batches) {
    train::estimate_norms(model_, static_cast<int64_t>(batches.size()), images_of(batches));
    if (!exchange_) return;
    // Means over batches, and so over those of all ranks.
    for (const auto& [name, buffer] : model_.buffers()) {
      if (!buffer.is_floating_point()) continue;
      buffer.copy_(exchange_->sum_over_ranks(buffer).div_(exchange_->size()));
    }
  }

  void set_rate_factor(double factor) { rate_factor_ = factor; }

  StepReport step(const data::TrainBatch& batch) {
    StepReport report;
    report.settings = schedule_.at(iteration_);
    report.loss_scale = scaler_.factor();
    const bool last = iteration_ - last_step_ >= report.settings.accumulate;
    accumulate(batch, last, report);
    // With float16 the gradients of the whole step say what is finite.
    const bool rescued = scaler_.enabled();
    if (last && (report.finite || rescued)) take_step(report);
    if (!report.finite && (last || !rescued)) optimizer_.clear_gradients();
    if (last) last_step_ = iteration_;
    ++iteration_;
    return report;
  }

  Evaluation evaluate(const EvaluationBatch& batch) {
    const at::NoGradGuard guard;
    const at::Tensor images = images_on_device(batch.images, batch.count, batch.size, device());
    const Targets targets = targets_of(batch);
    const Logits logits = forward(images, NormMode::kEvaluation);
    Evaluation result;
    result.losses = to_items(detection_loss(logits, targets, loss_options(options_)).items);
    const bool many = options_.evaluated == EvaluatedHead::kOneToMany;
    result.detections =
        exec::to_host(raw_output(many ? logits.one2many : logits.one2one, logits.anchors));
    return result;
  }

  void swap() { ema_.swap(); }

  int64_t iteration() const { return iteration_; }

  TrainerState state() const {
    TrainerState state;
    state.model = exec::to_host(model_.state());
    state.average = state.model;  // for the whole numbers, which have no mean
    for (auto& [name, mean] : exec::to_host(ema_.means())) {
      (state.model.contains(name) ? state.average : state.part_average)[name] = std::move(mean);
    }
    state.parts = exec::to_host(part_state());
    state.optimizer = exec::to_host(optimizer_.state());
    state.scaler = exec::to_host(scaler_.state());
    state.gradients = pending_gradients();
    state.iteration = iteration_;
    state.last_step = last_step_;
    state.updates = ema_.updates();
    return state;
  }

  void load(const TrainerState& state) {
    const at::NoGradGuard guard;
    exec::copy_into(model_.state(), state.model, "the saved model");
    for (const auto& part : parts_) part->load(state.parts, "the saved training");
    TensorMap means = state.part_average;
    means.insert(state.average.begin(), state.average.end());
    exec::copy_into(ema_.means(), means, "the saved running mean");
    exec::copy_into(optimizer_.state(), state.optimizer, "the saved optimizer");
    exec::copy_into(scaler_.state(), state.scaler, "the saved gradient scaler");
    // The sum of all ranks' counts once.
    const bool has_gradients = !exchange_ || exchange_->rank() == 0;
    load_gradients(has_gradients ? state.gradients : TensorMap());
    iteration_ = state.iteration;
    last_step_ = state.last_step;
    ema_.set_updates(state.updates);
    take_from_first_rank();
  }

 private:
  static const TrainerOptions& checked(const TrainerOptions& options) {
    check_options(options);
    return options;
  }

  const std::string& device() const { return options_.device; }

  double progress() const {
    const auto total = static_cast<double>(options_.schedule.epochs * options_.schedule.batches);
    return std::min(static_cast<double>(iteration_) / total, 1.0);
  }

  ImageBatches images_of(std::span<const data::TrainBatch> batches) const {
    return [this, batches](int64_t index) {
      return images_on_device(batches[static_cast<size_t>(index) % batches.size()], device());
    };
  }

  void take_from_first_rank() {
    if (!exchange_) return;
    for (const NamedTensors& tensors : {model_.state(), part_state(), ema_.means()}) {
      exchange_->broadcast(tensors);
    }
  }

  void restart_average() { ema_ = make_ema(averaged(), options_.ema_decay, options_.ema_tau); }

  NormMode norm_mode() const {
    if (options_.freeze_norm) return NormMode::kEvaluation;
    const bool frozen = std::ranges::any_of(parts_, [&](const auto& part) {
      return part->norm_mode(progress()) == NormMode::kEvaluation;
    });
    return frozen ? NormMode::kEvaluation : NormMode::kTraining;
  }

  std::vector<ParameterGroup> make_groups() {
    std::vector<ParameterGroup> groups = parameter_groups(model_, schedule_.weight_decay());
    for (const auto& part : parts_) {
      part->attach(model_);
      for (PartParameters& more : part->parameters()) {
        merge(part_parameters_, more.group.parameters);
        part_rates_.emplace_back(more.rate_of, more.rate_factor);
        groups.push_back(std::move(more.group));
      }
    }
    return groups;
  }

  NamedTensors averaged() const {
    NamedTensors all = model_.state();
    merge(all, part_parameters_);
    return all;
  }

  NamedTensors part_state() const {
    NamedTensors all;
    for (const auto& part : parts_) merge(all, part->state());
    return all;
  }

  Logits forward(const at::Tensor& images, NormMode mode) {
    const Autocast autocast(options_.precision, device());
    return model_.forward(images, mode);
  }

  template <typename Batch>
  Targets targets_of(const Batch& batch) const {
    return targets_on_device(
        batch.labels, {.images = batch.count, .classes = classes_, .size = batch.size}, device());
  }

  // Adds a batch's gradients to those that are there.
  void accumulate(const data::TrainBatch& batch, bool last, StepReport& report) {
    const at::Tensor images = images_on_device(batch, device());
    const Targets targets = targets_of(batch);
    const Logits logits = forward(images, norm_mode());
    const DetectionLoss loss = detection_loss(logits, targets, loss_);
    at::Tensor total = loss.total;
    for (const auto& part : parts_) {
      const at::Tensor more =
          part->penalty({.images = images, .logits = logits, .progress = progress()});
      if (more.defined()) total = total.add(more, static_cast<double>(batch.count));
    }
    if (exchange_) exchange_->begin_backward(last);
    scaler_.scale(total).backward();
    if (exchange_) exchange_->finish_backward(last);
    report_losses(loss.items, total.detach(), report);
  }

  void report_losses(const at::Tensor& items, const at::Tensor& total, StepReport& report) {
    at::Tensor figures = at::cat({items, total.view({1})}).to(at::kDouble);
    // The loss of each rank is its share.
    if (exchange_) figures = exchange_->sum_over_ranks(figures);
    report.losses = to_items(figures);
    report.total = figures[-1].item<double>();
    report.finite = std::isfinite(report.total);
  }

  void take_step(StepReport& report) {
    report.finite = scaler_.unscale(gradients());
    if (report.finite) {
      for (const auto& part : parts_) part->before_step(progress());
      const double limit =
          options_.clip_norm > 0 ? options_.clip_norm : std::numeric_limits<double>::infinity();
      report.gradient_norm = optimizer_.clip_gradients(limit).item<double>();
      report.finite = std::isfinite(report.gradient_norm);
    }
    scaler_.update();
    if (!report.finite) return;
    for (double& rate : report.settings.rates) rate *= rate_factor_;
    std::vector<double> rates(report.settings.rates.begin(), report.settings.rates.end());
    for (const auto& [like, factor] : part_rates_) {
      rates.push_back(report.settings.rates.at(like) * factor);
    }
    optimizer_.step(rates, report.settings.momentum);
    optimizer_.clear_gradients();
    for (const auto& part : parts_) part->after_step(progress());
    // Each rank has moved its batch norms by its own images.
    if (exchange_ && !options_.freeze_norm) exchange_->broadcast(model_.buffers());
    ema_.update();
    report.stepped = true;
  }

  std::vector<at::Tensor> gradients() const {
    std::vector<at::Tensor> all;
    for (const ParameterGroup& group : optimizer_.groups()) {
      for (const auto& [name, parameter] : group.parameters) {
        if (parameter.grad().defined()) all.push_back(parameter.grad());
      }
    }
    return all;
  }

  // Those that no step has used yet, of all ranks.
  TensorMap pending_gradients() const {
    TensorMap all;
    if (iteration_ == last_step_ + 1) return all;
    for (const ParameterGroup& group : optimizer_.groups()) {
      for (const auto& [name, parameter] : group.parameters) {
        const at::Tensor gradient = exchange_ ? summed_gradient(parameter) : parameter.grad();
        if (gradient.defined()) all[name] = exec::to_host(gradient);
      }
    }
    return all;
  }

  // Undefined when no rank has one.
  at::Tensor summed_gradient(const at::Tensor& parameter) const {
    const at::Tensor& own = parameter.grad();
    const at::Tensor present = at::full({1}, own.defined() ? 1 : 0, parameter.detach().options());
    const at::Tensor values = own.defined() ? own : at::zeros_like(parameter.detach());
    const at::Tensor sums = exchange_->sum_over_ranks(at::cat({values.flatten(), present}));
    if (sums[-1].item<double>() == 0) return {};
    return sums.slice(0, 0, -1).view(parameter.sizes());
  }

  void load_gradients(const TensorMap& gradients) {
    optimizer_.clear_gradients();
    for (const ParameterGroup& group : optimizer_.groups()) {
      for (const auto& [name, parameter] : group.parameters) {
        const auto found = gradients.find(name);
        if (found == gradients.end()) continue;
        at::Tensor& gradient = parameter.mutable_grad();
        gradient = parameter.detach().clone();
        exec::copy_into({{name, gradient}}, gradients, "the saved gradients");
      }
    }
  }

  TrainerOptions options_;
  Schedule schedule_;
  TrainableGraph model_;
  int64_t classes_;
  std::vector<std::shared_ptr<TrainingPart>> parts_;
  std::shared_ptr<RankExchange> exchange_;
  NamedTensors part_parameters_;
  std::vector<std::pair<size_t, double>> part_rates_;  // of groups behind the model's
  Optimizer optimizer_;
  quant::ParameterAverage ema_;
  GradientScaler scaler_;
  LossOptions loss_;
  int64_t iteration_ = 0;
  int64_t last_step_ = -1;
  double rate_factor_ = 1;
};

Trainer::Trainer(const graph::Graph& graph, const TrainerOptions& options,
                 std::vector<std::shared_ptr<TrainingPart>> parts,
                 std::shared_ptr<RankExchange> exchange)
    : impl_(std::make_unique<Impl>(graph, options, std::move(parts), std::move(exchange))) {}
Trainer::~Trainer() = default;
Trainer::Trainer(Trainer&&) noexcept = default;
Trainer& Trainer::operator=(Trainer&&) noexcept = default;

int64_t Trainer::batches_to_prepare() const { return impl_->batches_to_prepare(); }
void Trainer::prepare(std::span<const data::TrainBatch> batches) { impl_->prepare(batches); }
void Trainer::set_rate_factor(double factor) { impl_->set_rate_factor(factor); }
void Trainer::estimate_norms(std::span<const data::TrainBatch> batches) {
  impl_->estimate_norms(batches);
}
bool Trainer::begin_epoch(int64_t epoch) { return impl_->begin_epoch(epoch); }
StepReport Trainer::step(const data::TrainBatch& batch) { return impl_->step(batch); }
Evaluation Trainer::evaluate(const EvaluationBatch& batch) { return impl_->evaluate(batch); }
int64_t Trainer::iteration() const { return impl_->iteration(); }
TrainerState Trainer::state() const { return impl_->state(); }
void Trainer::load(const TrainerState& state) { impl_->load(state); }

Trainer::Averaged::Averaged(Trainer& trainer) : trainer_(trainer) { trainer_.impl_->swap(); }
Trainer::Averaged::~Averaged() { trainer_.impl_->swap(); }

}  // namespace yoloquant::train

// What a training tells: records, events, lines.
#include "base/text.h"
#include "exec/executor.h"
#include "pipeline/environment.h"
#include "pipeline/train_job.h"
#include "pipeline/train_settings.h"

namespace yoloquant::pipeline {

using nlohmann::ordered_json;

static_assert(report::kLossColumns == train::kLossNames);

std::string TrainJob::loss_text(const train::LossItems& losses) {
  std::string text;
  for (const double loss : losses) text += fmt::format("{}{:.4g}", text.empty() ? "" : " ", loss);
  return text;
}

ordered_json TrainJob::run_json() const {
  ordered_json environment = environment_json(pipeline::environment());
  environment["libraries"]["torch"] = exec::torch_version();
  return {{"settings", train_settings(options_)},
          {"model_sha256", model_.sha256},
          {"train_sha256", data_.train.sha256},
          {"val_sha256", data_.val.sha256},
          {"device", options_.trainer.device},
          {"threads", options_.threads},
          {"environment", environment}};
}

void TrainJob::note(const std::string& kind, const std::string& text) {
  recorder_->add(report::EventRecord{
      .epoch = position_.epoch, .iteration = trainer_.iteration(), .kind = kind, .text = text});
}

report::RunRecord TrainJob::run_record() const {
  const ordered_json run = run_json();
  report::RunRecord record;
  for (const auto& [name, value] : run["settings"].items()) {
    record.hyperparameters.emplace_back(
        name, value.is_string() ? value.get<std::string>() : value.dump());
  }
  record.seed = options_.seed;
  const auto source = [&](const char* name, const data::LabelScan& scan) {
    record.data.push_back({.name = name,
                           .path = file(std::string("data/") + name + ".txt").string(),
                           .items = static_cast<int64_t>(scan.images.size()),
                           .sha256 = scan.sha256});
  };
  source("train", data_.train);
  source("val", data_.val);
  record.versions.emplace_back("model_sha256", model_.sha256);
  record.versions.emplace_back("environment", run["environment"].dump());
  return record;
}

void TrainJob::record_step(const data::TrainBatch& batch, const train::StepReport& report,
                           double seconds) {
  if (!writes()) return;
  report::IterationRecord record;
  record.epoch = position_.epoch;
  record.iteration = trainer_.iteration() - 1;
  record.images = batch.count * options_.ranks.world_size;
  record.losses = report.losses;
  record.total = report.total;
  record.rates = report.settings.rates;
  record.momentum = report.settings.momentum;
  if (report.stepped) record.gradient_norm = report.gradient_norm;
  if (options_.trainer.precision == train::Precision::kFloat16) {
    record.loss_scale = report.loss_scale;
  }
  record.seconds = seconds;
  recorder_->add(record);
}

void TrainJob::record_layers(const std::vector<train::LayerStatistics>& layers) {
  if (!writes()) return;
  for (const train::LayerStatistics& layer : layers) {
    report::LayerRecord weight;
    weight.epoch = position_.epoch;
    weight.layer = layer.conv;
    weight.bits = layer.weight_bits;
    weight.scale_mean = layer.step_mean;
    weight.scale_min = layer.step_min;
    weight.scale_max = layer.step_max;
    weight.scale_drift = layer.step_drift;
    weight.oscillating = layer.oscillation;
    weight.frozen = layer.frozen;
    weight.dead_codes = layer.dead_codes;
    weight.saturated = layer.saturated;
    weight.gradient_norm = layer.weight_gradient;
    recorder_->add(weight);
    if (layer.input_bits == 0) continue;
    report::LayerRecord input;
    input.epoch = position_.epoch;
    input.layer = layer.conv;
    input.kind = report::LayerRecord::Kind::kActivation;
    input.bits = layer.input_bits;
    input.scale_mean = input.scale_min = input.scale_max = layer.input_step;
    input.scale_drift = layer.input_step_drift;
    input.clipped = layer.clipped_inputs;
    input.gradient_norm = layer.input_step_gradient;
    recorder_->add(input);
  }
}

void TrainJob::record(const std::optional<Validation>& validation) {
  if (!writes()) return;
  report::EpochRecord record;
  record.epoch = position_.epoch;
  record.seconds = position_.seconds - position_.seconds_before;
  record.train_losses = position_.loss_sums;
  for (double& loss : record.train_losses) loss /= static_cast<double>(loader_.batches());
  // After an interruption while validating there is no last batch to ask.
  record.rates = train::Schedule(options_.trainer.schedule).at(trainer_.iteration() - 1).rates;
  if (validation) {
    record.val_losses = validation->losses;
    record.precision = validation->precision;
    record.recall = validation->recall;
    record.map50 = validation->map50;
    record.map = validation->map;
  }
  recorder_->add(record);
}

void TrainJob::describe(const std::optional<Validation>& validation) {
  const int64_t epochs = options_.trainer.schedule.epochs;
  train::LossItems means = position_.loss_sums;
  for (double& loss : means) loss /= static_cast<double>(loader_.batches());
  std::string line = fmt::format("epoch {}/{}  {:.1f} images/s  loss {}", position_.epoch + 1,
                                 epochs, images_per_second_, loss_text(means));
  if (validation) {
    line += fmt::format("  val {}  P {:.3f} R {:.3f} mAP50 {:.4f} mAP50-95 {:.4f}{}",
                        loss_text(validation->losses), validation->precision, validation->recall,
                        validation->map50, validation->map,
                        position_.best_epoch == position_.epoch ? " (best)" : "");
  }
  const int64_t left = epochs - position_.epoch - 1;
  if (epochs_here_ > 0 && left > 0) {
    const double seconds = seconds_of_epochs_ / static_cast<double>(epochs_here_);
    line += fmt::format("  {} left", human_seconds(seconds * static_cast<double>(left)));
  }
  info(line);
}

}  // namespace yoloquant::pipeline

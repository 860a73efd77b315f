#include "pipeline/train_job.h"

#include <cmath>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "base/interrupt.h"
#include "base/text.h"
#include "checkpoint/value_text.h"
#include "data/batch_drawing.h"
#include "exec/executor.h"
#include "pipeline/environment.h"
#include "pipeline/train_settings.h"

namespace yoloquant::pipeline {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

constexpr const char* kLast = "last.pt";
constexpr const char* kSettings = "train.json";
// Halving the largest factor of float16 as often leaves nothing of it.
constexpr int kMostSkippedSteps = 40;

// A run that was stopped before it began is begun.
RunMode mode_of(const TrainOptions& options) {
  const bool has_run = fs::exists(options.out / "journal.jsonl");
  return options.resume && has_run ? RunMode::kResume : RunMode::kNew;
}

data::TrainLoaderOptions loader_options(const TrainOptions& options) {
  data::TrainLoaderOptions loader;
  loader.image_size = static_cast<int>(options.image_size);
  loader.batch_size = static_cast<int>(options.batch / options.shard.world_size);
  loader.seed = options.seed;
  loader.shard = options.shard;
  loader.augment = options.augment;
  loader.threads = options.workers;
  return loader;
}

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

std::string losses_text(const train::LossItems& losses) {
  std::string text;
  for (const double loss : losses) text += fmt::format("{}{:.4g}", text.empty() ? "" : " ", loss);
  return text;
}

// The same file under a second name, at once and whole. `last` is never written again in place.
void link_file(const fs::path& last, const fs::path& name) {
  AtomicFile file(name);
  std::error_code error;
  fs::create_hard_link(last, file.temporary_path(), error);
  if (error) fs::copy_file(last, file.temporary_path());
  file.commit();
}

ordered_json run_json(const TrainOptions& options, const TrainData& data, const TrainModel& model) {
  ordered_json environment = environment_json(pipeline::environment());
  environment["libraries"]["torch"] = exec::torch_version();
  return {{"settings", train_settings(options)}, {"model_sha256", model.sha256},
          {"train_sha256", data.train.sha256},   {"val_sha256", data.val.sha256},
          {"device", options.trainer.device},    {"threads", options.threads},
          {"environment", environment}};
}

}  // namespace

TrainJob::TrainJob(const TrainOptions& options, const TrainEvents& events, Progress& progress)
    : events_(events),
      progress_(progress),
      root_(options.out, mode_of(options)),
      data_(open_train_data(options.data, options.out / "data", options.threads, progress)),
      model_(open_train_model(options, data_.names)),
      loader_(data_.train.images, loader_options(options)),
      options_(completed(options, loader_)),
      train_args_(checkpoint::parse_json(train_settings(options_).dump())),
      trainer_(model_.graph, options_.trainer) {
  exec::set_threads(options_.threads);
  for (const auto& warnings : {data_.warnings, model_.warnings}) {
    for (const std::string& warning : warnings) {
      events_.warning(warning);
      root_.log(warning);
    }
  }
}

TrainOptions TrainJob::completed(TrainOptions options, const data::TrainLoader& loader) {
  options.trainer.schedule.batches = loader.batches();
  options.trainer.schedule.batch = options.batch;
  return options;
}

fs::path TrainJob::weights(const std::string& name) const { return root_.file("weights") / name; }

void TrainJob::info(const std::string& line) {
  events_.info(line);
  root_.log(line);
}

TrainResult TrainJob::run() {
  if (root_.journal().empty()) {
    begin();
  } else {
    resume();
  }
  recorder_.emplace(root_.path(), position_.epoch);
  const int64_t epochs = options_.trainer.schedule.epochs;
  info(
      fmt::format("{} training images, {} validation images, {} classes, {} batches of {} an epoch",
                  data_.train.images.size(), data_.val.images.size(), data_.names.size(),
                  loader_.batches(), options_.batch));
  while (position_.epoch < epochs && !position_.stopped) {
    try {
      const Clock::time_point start = Clock::now();
      train_epoch();
      finish_epoch();
      seconds_of_epochs_ += seconds_since(start);
      ++epochs_here_;
    } catch (const Interrupted& interruption) {
      save();
      info(fmt::format("{} in epoch {} after {} of {} batches: go on with --resume",
                       interruption.what(), position_.epoch + 1, position_.batch,
                       loader_.batches()));
      throw;
    }
  }
  return result();
}

void TrainJob::begin() {
  const ordered_json json = run_json(options_, data_, model_);
  write_file(root_.file(kSettings), json.dump(2) + "\n");
  if (!options_.command_yaml.empty()) {
    write_file(root_.file("command.yaml"), options_.command_yaml);
  }
  root_.append(
      {.stage = "train", .key = sha256(json["settings"].dump()), .outputs = {}, .seconds = 0});
}

void TrainJob::resume() {
  const fs::path file = root_.file(kSettings);
  const ordered_json before = ordered_json::parse(read_file(file), nullptr, false);
  const ordered_json now = run_json(options_, data_, model_);
  if (!before.is_object() || !before.contains("settings")) {
    fail("{}: not the settings of a training", file.string());
  }
  check_same_settings(before["settings"], now["settings"]);
  for (const char* key : {"model_sha256", "train_sha256", "val_sha256"}) {
    if (before.value(key, "") == now[key]) continue;
    fail("{}: the run began with other contents ({}): put them back, or begin a new run",
         file.string(), key);
  }
  if (!fs::exists(weights(kLast))) {
    info("no epoch was finished: starting from the beginning");
    return;
  }
  train::TrainerState state;
  read_train_checkpoint(weights(kLast), state, position_);
  with_context(weights(kLast).string(), [&] {
    const int64_t batches = loader_.batches();
    if (position_.epoch > options_.trainer.schedule.epochs || position_.batch > batches ||
        state.iteration != position_.epoch * batches + position_.batch) {
      fail("epoch {}, batch {} and iteration {} do not belong to this training",
           position_.epoch + 1, position_.batch, state.iteration);
    }
    trainer_.load(state);
  });
  if (position_.batch == 0) keep_copies();
  info(fmt::format("going on in epoch {} after {} batches", position_.epoch + 1, position_.batch));
}

void TrainJob::train_epoch() {
  const train::ScheduleOptions& schedule = options_.trainer.schedule;
  const bool close_mosaic = position_.epoch >= schedule.epochs - options_.augment.close_mosaic;
  trainer_.begin_epoch(position_.epoch);
  if (position_.batch == loader_.batches()) return;  // interrupted while validating
  loader_.start(position_.epoch, position_.batch, close_mosaic);
  progress_.start(fmt::format("epoch {}/{}", position_.epoch + 1, schedule.epochs),
                  loader_.batches());
  const Clock::time_point start = Clock::now();
  Clock::time_point batch_start = start;
  int64_t images = 0;
  data::TrainBatch batch;
  while (loader_.next(batch)) {
    if (trainer_.iteration() == 0 && writes()) {
      data::write_image(root_.file("train_batch0.jpg"),
                        data::draw_grid(data::batch_tiles(batch, data_.names)));
    }
    const train::StepReport report = trainer_.step(batch);
    check_finite(report);
    const double seconds = seconds_since(batch_start);
    batch_start = Clock::now();
    position_.seconds += seconds;
    ++position_.batch;
    images += batch.count;
    for (size_t i = 0; i < report.losses.size(); ++i) {
      position_.loss_sums[i] += report.losses[i];
    }
    record_step(batch, report, seconds);
    check_interrupt();
    progress_.update(position_.batch, "loss " + losses_text(report.losses));
  }
  progress_.finish();
  images_per_second_ = static_cast<double>(images) / seconds_since(start);
}

void TrainJob::check_finite(const train::StepReport& report) {
  if (report.finite) {
    if (report.stepped) skipped_steps_ = 0;
    return;
  }
  // With float16 the scaler finds a factor that fits, if there is one.
  const bool rescued = options_.trainer.precision == train::Precision::kFloat16;
  if (rescued && ++skipped_steps_ < kMostSkippedSteps) return;
  const fs::path last = weights(kLast);
  fail(
      "epoch {}, batch {}: the loss or its gradients are not finite (losses {}): begin again with "
      "a "
      "lower --lr0 or --amp off{}",
      position_.epoch + 1, position_.batch + 1, losses_text(report.losses),
      fs::exists(last) ? fmt::format("; {} holds the last good state", last.string()) : "");
}

void TrainJob::record_step(const data::TrainBatch& batch, const train::StepReport& report,
                           double seconds) {
  if (!writes()) return;
  report::IterationRecord record;
  record.epoch = position_.epoch;
  record.iteration = trainer_.iteration() - 1;
  record.images = batch.count;
  record.losses = report.losses;
  record.total = report.total;
  record.rates = report.settings.rates;
  record.momentum = report.settings.momentum;
  record.gradient_norm = report.gradient_norm;
  record.loss_scale = report.loss_scale;
  record.seconds = seconds;
  recorder_->add(record);
}

void TrainJob::finish_epoch() {
  const Clock::time_point start = Clock::now();
  const std::optional<Validation> validation = validate_epoch();
  position_.seconds += seconds_since(start);
  record(validation);
  describe(validation);
  ++position_.epoch;
  position_.batch = 0;
  position_.loss_sums = {};
  save();
  if (writes()) keep_copies();
}

std::optional<Validation> TrainJob::validate_epoch() {
  const int64_t epoch = position_.epoch + 1;
  const bool due = epoch % options_.val_period == 0 || epoch == options_.trainer.schedule.epochs;
  if (!due || !writes()) return std::nullopt;
  const train::Trainer::Averaged averaged(trainer_);
  Validation validation = validate(
      trainer_, data_,
      {.image_size = options_.image_size, .batch = options_.batch, .threads = options_.workers},
      progress_);
  data::write_image(root_.file("val_batch0_pred.jpg"), data::draw_grid(validation.tiles));
  note_result(validation);
  return validation;
}

void TrainJob::note_result(const Validation& validation) {
  position_.map50 = validation.map50;
  position_.map = validation.map;
  const double now = fitness(validation.map50, validation.map);
  if (now > position_.best_fitness) {
    position_.best_fitness = now;
    position_.best_epoch = position_.epoch;
  }
  position_.stopped =
      options_.patience > 0 && position_.epoch - position_.best_epoch >= options_.patience;
}

void TrainJob::record(const std::optional<Validation>& validation) {
  if (!writes()) return;
  report::EpochRecord record;
  record.epoch = position_.epoch;
  record.seconds = position_.seconds;
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
                                 epochs, images_per_second_, losses_text(means));
  if (validation) {
    line += fmt::format("  val {}  P {:.3f} R {:.3f} mAP50 {:.4f} mAP50-95 {:.4f}{}",
                        losses_text(validation->losses), validation->precision, validation->recall,
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

void TrainJob::save() {
  if (!writes()) return;
  write_train_checkpoint(weights(kLast), model_, trainer_.state(), position_, train_args_);
}

// After an epoch's last.pt was written; done again on resuming, in case it was cut off in between.
void TrainJob::keep_copies() {
  const int64_t done = position_.epoch;  // epochs
  if (position_.best_epoch == done - 1 && done > 0) link_file(weights(kLast), weights("best.pt"));
  if (options_.save_period > 0 && done > 0 && done % options_.save_period == 0) {
    link_file(weights(kLast), weights(fmt::format("epoch{:03}.pt", done)));
  }
}

TrainResult TrainJob::result() const {
  return {.root = root_.path(),
          .epochs = position_.epoch,
          .stopped = position_.stopped,
          .best_epoch = position_.best_epoch + 1,
          .best_fitness = std::max(position_.best_fitness, 0.0),
          .map50 = position_.map50,
          .map = position_.map,
          .seconds = position_.seconds};
}

}  // namespace yoloquant::pipeline

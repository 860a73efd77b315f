#include "pipeline/train_job.h"

#include <algorithm>
#include <cmath>
#include <csignal>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "base/interrupt.h"
#include "base/text.h"
#include "checkpoint/value_text.h"
#include "data/batch_drawing.h"
#include "exec/executor.h"
#include "graph/passes.h"
#include "pipeline/environment.h"
#include "pipeline/train_settings.h"
#include "quant/annotation_file.h"
#include "train/training_annotations.h"

namespace yoloquant::pipeline {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

constexpr const char* kSettings = "train.json";
constexpr const char* kTraining = "train";  // in the journal: the training has begun
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
  loader.batch_size = static_cast<int>(options.batch / options.ranks.world_size);
  loader.seed = options.seed;
  loader.shard = {.rank = options.ranks.rank, .world_size = options.ranks.world_size};
  loader.augment = options.augment;
  loader.threads = options.workers;
  return loader;
}

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// The same file under a second name, at once and whole. `last` is never written again in place.
void link_file(const fs::path& last, const fs::path& name) {
  AtomicFile file(name);
  std::error_code error;
  fs::create_hard_link(last, file.temporary_path(), error);
  if (error) fs::copy_file(last, file.temporary_path());
  file.commit();
}

}  // namespace

TrainJob::TrainJob(const TrainOptions& options, const TrainEvents& events, Progress& progress,
                   RunRoot* shared)
    : events_(events),
      progress_(options.ranks.rank == 0 ? progress : Progress::none()),
      ranks_(options.ranks, options.trainer.device, options.sync_norms),
      own_root_(shared == nullptr && options.ranks.rank == 0
                    ? std::make_unique<RunRoot>(options.out, mode_of(options))
                    : nullptr),
      root_(shared == nullptr ? own_root_.get() : shared),
      data_(open_data(options, ranks_, progress_)),
      model_(open_train_model(options, data_.names)),
      loader_(data_.train.images, loader_options(options)),
      options_(completed(options, loader_)),
      train_args_(checkpoint::parse_json(train_settings(options_).dump())),
      qat_(make_qat(options_, model_)),
      trainer_(model_.graph, options_.trainer, make_parts(options_, model_, qat_),
               ranks_.exchange()),
      watch_(options_.watch) {
  exec::set_threads(options_.threads);
  if (!writes()) return;
  for (const auto& warnings : {data_.warnings, model_.warnings}) {
    for (const std::string& warning : warnings) {
      events_.warning(warning);
      root_->log(warning);
    }
  }
}

// Rank 0 first, which leaves caches for the others.
TrainData TrainJob::open_data(const TrainOptions& options, train::Ranks& ranks,
                              Progress& progress) {
  const auto open = [&](bool writes) {
    return open_train_data(options.data, options.out / "data", options.threads, progress, writes);
  };
  if (options.ranks.rank == 0) {
    TrainData data = open(true);
    ranks.barrier();
    return data;
  }
  try {
    ranks.barrier();
  } catch (const Error&) {
    check_interrupt();  // then rank 0 has ended because of that, too
    throw;
  }
  return open(false);
}

std::optional<train::Qat> TrainJob::make_qat(const TrainOptions& options, const TrainModel& model) {
  if (!options.qat) return std::nullopt;
  const QatSettings& settings = *options.qat;
  graph::Graph annotated = train::annotate_for_training(model.graph, settings.config);
  if (!settings.start.empty()) {
    annotated = quant::read_annotations(
        settings.start,
        graph::for_inference(model.graph, graph::Head::kBoth, graph::Branches::kKeep));
  }
  return std::optional<train::Qat>(std::in_place, std::move(annotated), settings.options);
}

std::vector<std::shared_ptr<train::TrainingPart>> TrainJob::make_parts(
    const TrainOptions& options, const TrainModel& model, const std::optional<train::Qat>& qat) {
  std::vector<std::shared_ptr<train::TrainingPart>> parts;
  if (!qat) return parts;
  parts.push_back(qat->part());
  const QatSettings& settings = *options.qat;
  if (settings.distillation > 0) {
    parts.push_back(train::distillation_part(open_teacher(options, model), options.trainer.device,
                                             {.weight = settings.distillation}));
  }
  return parts;
}

TrainOptions TrainJob::completed(TrainOptions options, const data::TrainLoader& loader) {
  options.trainer.schedule.batches = loader.batches();
  options.trainer.schedule.batch = options.batch;
  if (options.steps > 0) {
    train::ScheduleOptions& schedule = options.trainer.schedule;
    const auto accumulated = std::max<int64_t>(schedule.nominal_batch / options.batch, 1);
    schedule.epochs =
        std::max<int64_t>(std::llround(static_cast<double>(options.steps * accumulated) /
                                       static_cast<double>(schedule.batches)),
                          1);
  }
  return options;
}

fs::path TrainJob::weights(const std::string& name) const { return file("weights") / name; }

void TrainJob::info(const std::string& line) {
  if (!writes()) return;
  events_.info(line);
  root_->log(line);
}

// All stop at the same point, whichever of them was asked to.
void TrainJob::stop_when_any(bool here) {
  if (!ranks_.any(here)) return;
  const int signal = interrupt_signal();
  throw Interrupted(signal == 0 ? SIGTERM : signal);
}

TrainResult TrainJob::run() {
  const auto is_training = [](const JournalEntry& entry) { return entry.stage == kTraining; };
  if (ranks_.any(writes() && std::ranges::any_of(root_->journal(), is_training))) {
    resume();
  } else if (writes()) {
    begin();
  }
  if (writes()) {
    recorder_.emplace(options_.out, run_record(),
                      report::RecordPoint{position_.epoch, trainer_.iteration()});
    if (trainer_.iteration() > 0) note("resume", "going on");
  }
  const int64_t epochs = options_.trainer.schedule.epochs;
  info(
      fmt::format("{} training images, {} validation images, {} classes, {} batches of {} an epoch",
                  data_.train.images.size(), data_.val.images.size(), data_.names.size(),
                  loader_.batches(), options_.batch));
  if (trainer_.iteration() == 0 && position_.epoch == 0 && !fs::exists(weights(kLast))) {
    start_training();
  }
  while (position_.epoch < epochs && !position_.stopped) {
    try {
      const Clock::time_point start = Clock::now();
      finish_epoch(train_epoch());
      seconds_of_epochs_ += seconds_since(start);
      ++epochs_here_;
    } catch (const Interrupted& interruption) {
      if (writes()) note("interruption", interruption.what());
      save();
      info(fmt::format("{} in epoch {} after {} of {} batches: go on with --resume",
                       interruption.what(), position_.epoch + 1, position_.batch,
                       loader_.batches()));
      ranks_.barrier();
      throw;
    }
  }
  if (leaves_start() && writes()) prefer_start();
  if (writes()) recorder_->finish();
  ranks_.barrier();
  return result();
}

void TrainJob::begin() {
  const ordered_json json = run_json();
  write_file(file(kSettings), json.dump(2) + "\n");
  if (!options_.command_yaml.empty()) {
    write_file(file("command.yaml"), options_.command_yaml);
  }
  root_->append(
      {.stage = kTraining, .key = sha256(json["settings"].dump()), .outputs = {}, .seconds = 0});
}

void TrainJob::resume() {
  const fs::path path = file(kSettings);
  const ordered_json before = ordered_json::parse(read_file(path), nullptr, false);
  const ordered_json now = run_json();
  if (!before.is_object() || !before.contains("settings")) {
    fail("{}: not the settings of a training", path.string());
  }
  check_same_settings(before["settings"], now["settings"]);
  for (const char* key : {"model_sha256", "train_sha256", "val_sha256"}) {
    if (before.value(key, "") == now[key].get<std::string>()) continue;
    fail("{}: the run began with other contents ({}): put them back, or begin a new run",
         path.string(), key);
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
    watch_.restore(nlohmann::json::parse(position_.watch, nullptr, false));
    trainer_.set_rate_factor(watch_.rate_factor());
  });
  if (writes() && position_.batch == 0) keep_copies();
  info(fmt::format("going on in epoch {} after {} batches", position_.epoch + 1, position_.batch));
}

// False when the loss is not finite: the rest of the epoch is left out.
bool TrainJob::train_epoch() {
  const train::ScheduleOptions& schedule = options_.trainer.schedule;
  if (trainer_.begin_epoch(position_.epoch)) forget_best();
  gradient_norms_ = 0;
  steps_ = 0;
  if (position_.batch == loader_.batches()) return true;  // interrupted while validating
  loader_.start(position_.epoch, position_.batch, closes_mosaic());
  // A signal is answered by all processes together, after a batch.
  UninterruptedProgress progress(progress_);
  progress.start(fmt::format("epoch {}/{}", position_.epoch + 1, schedule.epochs),
                 loader_.batches());
  const Clock::time_point start = Clock::now();
  Clock::time_point batch_start = start;
  int64_t images = 0;
  data::TrainBatch batch;
  while (loader_.next(batch)) {
    if (trainer_.iteration() == 0 && writes()) {
      data::write_image(file("train_batch0.jpg"),
                        data::draw_grid(data::batch_tiles(batch, data_.names)));
    }
    const train::StepReport report = trainer_.step(batch);
    if (!is_sound(report)) {
      progress.finish();
      return false;
    }
    const double seconds = seconds_since(batch_start);
    batch_start = Clock::now();
    position_.seconds += seconds;
    ++position_.batch;
    images += batch.count * options_.ranks.world_size;
    for (size_t i = 0; i < report.losses.size(); ++i) {
      position_.loss_sums[i] += report.losses[i];
    }
    record_step(batch, report, seconds);
    progress.update(position_.batch, "loss " + loss_text(report.losses));
    stop_when_any(interrupt_requested());
  }
  progress.finish();
  images_per_second_ = static_cast<double>(images) / seconds_since(start);
  return true;
}

// Whether this epoch is one of the last, without mosaic.
bool TrainJob::closes_mosaic() const {
  return position_.epoch >= options_.trainer.schedule.epochs - options_.augment.close_mosaic;
}

// Whether training can go on after this step.
bool TrainJob::is_sound(const train::StepReport& report) {
  if (report.stepped) {
    skipped_steps_ = 0;
    gradient_norms_ += report.gradient_norm;
    ++steps_;
  }
  if (report.finite) return true;
  // With float16 the scaler finds a factor that fits, if there is one.
  return options_.trainer.precision == train::Precision::kFloat16 &&
         ++skipped_steps_ < kMostSkippedSteps;
}

void TrainJob::finish_epoch(bool finite) {
  const Clock::time_point start = Clock::now();
  const std::optional<Validation> validation = finite ? validate_epoch() : std::nullopt;
  if (validation) note_result(*validation);
  position_.seconds += seconds_since(start);
  record(validation);
  describe(validation);
  if (!judge(finite, validation)) return;
  ++position_.epoch;
  position_.batch = 0;
  position_.seconds_before = position_.seconds;
  position_.loss_sums = {};
  save();
  if (writes()) keep_copies();
}

void TrainJob::save() {
  const train::TrainerState state = trainer_.state();  // of all processes
  if (!writes()) return;
  recorder_->flush();
  position_.watch = watch_.state().dump();
  write_train_checkpoint(weights(kLast), model_, state, position_, train_args_);
}

// After an epoch's last.pt was written; done again on resuming, in case it was cut off in between.
void TrainJob::keep_copies() {
  const int64_t done = position_.epoch;  // epochs
  link_file(weights(kLast), weights(kGood));
  const bool is_start = done == 0 && options_.validate_start;
  if (is_start || (done > 0 && position_.best_epoch == done - 1)) {
    link_file(weights(kLast), weights(kBest));
  }
  if (is_start && leaves_start()) link_file(weights(kLast), weights(kStart));
  if (options_.save_period > 0 && done > 0 && done % options_.save_period == 0) {
    link_file(weights(kLast), weights(fmt::format("epoch{:03}.pt", done)));
  }
}

// The start had the bits that the training ends with: its figure counts after all.
void TrainJob::prefer_start() {
  train::TrainerState state;
  TrainPosition start;
  read_train_checkpoint(weights(kStart), state, start);
  if (start.best_fitness < position_.best_fitness) return;
  position_.best_epoch = start.best_epoch;
  position_.best_fitness = start.best_fitness;
  position_.best_map = start.best_map;
  link_file(weights(kStart), weights(kBest));
}

TrainResult TrainJob::result() const {
  return {.root = options_.out,
          .epochs = position_.epoch,
          .stopped = position_.stopped,
          .best_epoch = position_.best_epoch + 1,
          .best_fitness = std::max(position_.best_fitness, 0.0),
          .map50 = position_.map50,
          .map = position_.map,
          .best_map = position_.best_map,
          .seconds = position_.seconds,
          .rollbacks = watch_.rollbacks()};
}

void TrainJob::store_best(graph::Graph& annotated) {
  if (!qat_) fail("the training had no quantizers");
  train::TrainerState state;
  TrainPosition best;
  read_train_checkpoint(weights(kBest), state, best);
  if (state.iteration == 0) {
    info("no epoch was better than the start: the post-training result is kept as it is");
    return;
  }
  trainer_.load(state);
  const train::Trainer::Averaged averaged(trainer_);
  qat_->store(annotated);
}

}  // namespace yoloquant::pipeline

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

static_assert(report::kLossColumns == train::kLossNames);

constexpr const char* kLast = "last.pt";
constexpr const char* kGood = "good.pt";  // what a collapse goes back to
constexpr const char* kBest = "best.pt";
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
  if (writes()) recorder_->finish();
  ranks_.barrier();
  return result();
}

void TrainJob::note(const std::string& kind, const std::string& text) {
  recorder_->add(report::EventRecord{
      .epoch = position_.epoch, .iteration = trainer_.iteration(), .kind = kind, .text = text});
}

report::RunRecord TrainJob::run_record() const {
  const ordered_json run = run_json(options_, data_, model_);
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

void TrainJob::begin() {
  const ordered_json json = run_json(options_, data_, model_);
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
  const ordered_json now = run_json(options_, data_, model_);
  if (!before.is_object() || !before.contains("settings")) {
    fail("{}: not the settings of a training", path.string());
  }
  check_same_settings(before["settings"], now["settings"]);
  for (const char* key : {"model_sha256", "train_sha256", "val_sha256"}) {
    if (before.value(key, "") == now[key]) continue;
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

// What comes before the first batch.
void TrainJob::start_training() {
  const int64_t wanted = trainer_.batches_to_prepare();
  if (wanted > 0) trainer_.prepare(some_batches(wanted));
  if (!options_.validate_start) return;
  std::optional<Validation> validation;
  {
    const train::Trainer::Averaged averaged(trainer_);
    validation = validate_now();
    if (writes()) draw(*validation);
  }
  position_.map50 = validation->map50;
  position_.map = position_.best_map = validation->map;
  position_.best_fitness = fitness(validation->map50, validation->map);
  info(fmt::format("start  mAP50 {:.4f} mAP50-95 {:.4f}", validation->map50, validation->map));
  judge(true, validation);
  save();
  if (writes()) keep_copies();
}

std::vector<data::TrainBatch> TrainJob::some_batches(int64_t count) {
  std::vector<data::TrainBatch> batches;
  const int64_t last_mosaic = options_.trainer.schedule.epochs - options_.augment.close_mosaic;
  loader_.start(position_.epoch, 0, position_.epoch >= last_mosaic);
  data::TrainBatch batch;
  while (static_cast<int64_t>(batches.size()) < count && loader_.next(batch)) {
    batches.push_back(batch);
  }
  return batches;
}

// False when the loss is not finite: the rest of the epoch is left out.
bool TrainJob::train_epoch() {
  const train::ScheduleOptions& schedule = options_.trainer.schedule;
  const bool close_mosaic = position_.epoch >= schedule.epochs - options_.augment.close_mosaic;
  trainer_.begin_epoch(position_.epoch);
  gradient_norms_ = 0;
  steps_ = 0;
  if (position_.batch == loader_.batches()) return true;  // interrupted while validating
  loader_.start(position_.epoch, position_.batch, close_mosaic);
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
    progress.update(position_.batch, "loss " + losses_text(report.losses));
    stop_when_any(interrupt_requested());
  }
  progress.finish();
  images_per_second_ = static_cast<double>(images) / seconds_since(start);
  return true;
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

std::optional<Validation> TrainJob::validate_epoch() {
  const int64_t epoch = position_.epoch + 1;
  const bool due = epoch % options_.val_period == 0 || epoch == options_.trainer.schedule.epochs;
  if (!due) return std::nullopt;
  const train::Trainer::Averaged averaged(trainer_);
  if (options_.qat && options_.qat->norm_batches > 0) {
    trainer_.estimate_norms(some_batches(options_.qat->norm_batches));
  }
  Validation validation = validate_now();
  if (writes()) draw(validation);
  return validation;
}

// Of the weights without averaging, when that is due.
std::optional<double> TrainJob::validate_weights() {
  const int64_t period = options_.qat ? options_.qat->gap_period : 0;
  if (period == 0 || (position_.epoch + 1) % period != 0) return std::nullopt;
  return validate_now().map;
}

// On rank 0; the others are told the figures.
Validation TrainJob::validate_now() {
  Validation validation;
  bool interrupted = false;
  if (writes()) {
    try {
      validation = validate(trainer_, data_,
                            {.image_size = options_.image_size,
                             .batch = options_.batch,
                             .head = options_.trainer.evaluated,
                             .threads = options_.workers},
                            progress_);
    } catch (const Interrupted&) {
      interrupted = true;
    }
  }
  stop_when_any(interrupted);
  std::array<double, 2> figures{validation.map50, validation.map};
  ranks_.sum(figures);
  validation.map50 = figures[0];
  validation.map = figures[1];
  return validation;
}

void TrainJob::draw(const Validation& validation) const {
  data::write_image(file("val_batch0_pred.jpg"), data::draw_grid(validation.tiles));
}

// Whether training goes on from here. Otherwise the last good state is back, or an Error thrown.
bool TrainJob::judge(bool finite, const std::optional<Validation>& validation) {
  train::EpochHealth health;
  health.epoch = trainer_.iteration() == 0 ? 0 : position_.epoch + 1;
  health.finite = finite;
  if (validation) {
    health.map = validation->map;
    if (trainer_.iteration() > 0) health.weights_map = validate_weights();
  }
  if (steps_ > 0) health.gradient_norm = gradient_norms_ / static_cast<double>(steps_);
  if (qat_) health.layers = qat_->statistics();
  record_layers(health.layers);
  const train::WatchDecision decision = watch_.look(health);
  if (health.weights_map) {
    info(fmt::format("  mAP50-95 of the weights without averaging {:.4f}", *health.weights_map));
  }
  for (const std::string& warning : decision.warnings) {
    if (!writes()) continue;
    events_.warning(warning);
    note("suspicion", warning);
  }
  if (decision.verdict == train::Verdict::kGoOn) return true;
  if (decision.verdict == train::Verdict::kRollBack) {
    roll_back(decision.diagnosis);
    return false;
  }
  if (writes()) {
    note("collapse", decision.diagnosis);
    recorder_->finish();
  }
  fail("training collapsed; {}; {}", decision.diagnosis,
       fs::exists(weights(kBest)) ? weights(kBest).string() + " is the best model so far"
                                  : "begin again with a lower --lr0");
}

void TrainJob::roll_back(const std::string& diagnosis) {
  if (writes()) {
    events_.warning(diagnosis);
    root_->log(diagnosis);
    note("rollback", diagnosis);
  }
  train::TrainerState state;
  TrainPosition good;
  read_train_checkpoint(weights(kGood), state, good);
  good.seconds = position_.seconds;  // time passes all the same
  position_ = good;
  trainer_.load(state);
  trainer_.set_rate_factor(watch_.rate_factor());
  if (writes()) recorder_->rewind({position_.epoch, trainer_.iteration()});
  save();
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

void TrainJob::note_result(const Validation& validation) {
  position_.map50 = validation.map50;
  position_.map = validation.map;
  const double now = fitness(validation.map50, validation.map);
  if (now > position_.best_fitness) {
    position_.best_fitness = now;
    position_.best_map = validation.map;
    position_.best_epoch = position_.epoch;
  }
  position_.stopped =
      options_.patience > 0 && position_.epoch - position_.best_epoch >= options_.patience;
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
  if (options_.save_period > 0 && done > 0 && done % options_.save_period == 0) {
    link_file(weights(kLast), weights(fmt::format("epoch{:03}.pt", done)));
  }
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
  trainer_.load(state);
  const train::Trainer::Averaged averaged(trainer_);
  qat_->store(annotated);
}

}  // namespace yoloquant::pipeline

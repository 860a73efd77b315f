// How a training is validated, judged and, when it collapses, taken back.
#include "base/error.h"
#include "base/interrupt.h"
#include "data/batch_drawing.h"
#include "pipeline/train_job.h"

namespace yoloquant::pipeline {

namespace fs = std::filesystem;

// What comes before the first batch.
void TrainJob::start_training() {
  if (!options_.validate_start) trainer_.begin_epoch(position_.epoch);
  const int64_t wanted = trainer_.batches_to_prepare();
  if (wanted > 0) trainer_.prepare(some_batches(wanted));
  if (!options_.validate_start) return;
  // With the bits asked for, whatever those of the first stage are.
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
  loader_.start(position_.epoch, 0, closes_mosaic());
  data::TrainBatch batch;
  while (static_cast<int64_t>(batches.size()) < count && loader_.next(batch)) {
    batches.push_back(batch);
  }
  return batches;
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

// All into the database, a few into the log: from scratch many layers come at once.
void TrainJob::report_suspicions(const std::vector<std::string>& warnings) {
  constexpr size_t kShown = 5;
  for (size_t i = 0; i < warnings.size(); ++i) {
    note("suspicion", warnings[i]);
    if (i < kShown) events_.warning(warnings[i]);
  }
  if (warnings.size() > kShown) {
    events_.warning(fmt::format("and {} more layers: see the table `events` of stats.sqlite",
                                warnings.size() - kShown));
  }
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
  if (writes()) report_suspicions(decision.warnings);
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

// Weights of more bits are no measure for those of fewer.
void TrainJob::forget_best() {
  position_.best_epoch = position_.epoch;
  position_.best_fitness = -1;
  position_.best_map = 0;
  watch_.forget_best();
  info("other bits from here on: the best model is sought anew");
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

}  // namespace yoloquant::pipeline

#include "pipeline/short_training.h"

namespace yoloquant::pipeline {

void set_short_training(pipeline::TrainOptions& options, pipeline::QatSettings& qat) {
  train::ScheduleOptions& schedule = options.trainer.schedule;
  schedule.epochs = 5;
  schedule.rate = 5e-4;
  schedule.final_rate = 0.05;
  schedule.cosine = true;
  schedule.warmup_epochs = 0;
  schedule.nominal_batch = 8;
  options.batch = 8;
  options.trainer.ema_decay = 0.99;
  options.trainer.ema_tau = 20;
  // Few images say little of a batch norm's statistics.
  options.trainer.freeze_norm = true;
  options.augment.mosaic = 0;
  options.augment.close_mosaic = 0;
  options.validate_start = true;
  qat.distillation = 1;
  qat.gap_period = 1;
}

}  // namespace yoloquant::pipeline

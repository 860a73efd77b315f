#include "pipeline/train.h"

#include "pipeline/train_job.h"
#include "pipeline/train_settings.h"

namespace yoloquant::pipeline {

double fitness(double map50, double map) { return 0.1 * map50 + 0.9 * map; }

TrainResult train(const TrainOptions& options, const TrainEvents& events, Progress& progress) {
  check_train_options(options);
  return TrainJob(options, events, progress).run();
}

}  // namespace yoloquant::pipeline

#pragma once

#include <string>

#include "cli/quantize_command.h"
#include "cli/train_command.h"

namespace yoloquant::cli {

// The command `qat`: a run with one scheme that is trained.
struct QatRunArguments {
  TrainArguments training;
  std::string scheme = "w4a8";
  graph::Head head = graph::Head::kOneToMany;
  QuantizationArguments quantization;
  int64_t max_images = 0;
  bool skip_latency = false;

  QatRunArguments();
  void declare(Options& options);
};

int run_qat(const QatRunArguments& arguments, Context& context);

}  // namespace yoloquant::cli

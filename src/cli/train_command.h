#pragma once

#include <optional>
#include <string>

#include "cli/arguments.h"
#include "cli/command.h"
#include "cli/qat_arguments.h"
#include "pipeline/train.h"

namespace yoloquant::cli {

struct TrainArguments {
  std::string model;
  pipeline::TrainOptions options;
  std::optional<ImageSize> image_size;
  std::string optimizer = "sgd";
  std::string amp = "auto";
  int processes = 1;
  Device device;
  std::string scheme;  // "": float
  std::string layers;  // rules, as for quantize
  QatArguments qat;

  void declare(Options& options);
  void declare_model(Options& options, const char* help);
  // Without quantizers.
  void declare_training(Options& options);

 private:
  void declare_data(Options& options);
  void declare_optimization(Options& options);
  void declare_augmentation(Options& options);
  void declare_run(Options& options);
};

pipeline::TrainOptions train_options(const TrainArguments& arguments, Context& context);
pipeline::TrainEvents train_events(Context& context);

int run_train(const TrainArguments& arguments, Context& context);

}  // namespace yoloquant::cli

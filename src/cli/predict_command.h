#pragma once

#include <filesystem>
#include <optional>

#include "cli/arguments.h"
#include "cli/command.h"
#include "pipeline/predict.h"

namespace yoloquant::cli {

struct PredictArguments : ModelArguments {
  std::filesystem::path source;
  std::filesystem::path out;
  std::optional<graph::Head> head;
  pipeline::PredictOptions options;
  Device device;

  void declare(Options& options);
};

int run_predict(const PredictArguments& arguments, Context& context);

}  // namespace yoloquant::cli

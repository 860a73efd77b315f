#pragma once

#include <filesystem>
#include <string>

#include "cli/arguments.h"
#include "cli/command.h"
#include "cli/quantize_command.h"
#include "pipeline/sensitivity.h"

namespace yoloquant::cli {

struct SensitivityArguments : ModelArguments {
  std::filesystem::path out;
  std::string scheme = "w4a8";
  graph::Head head = graph::Head::kOneToMany;
  QuantizationArguments quantization;
  BitBudgetArguments bits;
  std::string rounding = "nearest";
  pipeline::SensitivityOptions options;
  Device device;

  SensitivityArguments() { quantization.method = "nearest"; }

  void declare(Options& options);
};

int run_sensitivity(const SensitivityArguments& arguments, Context& context);

}  // namespace yoloquant::cli

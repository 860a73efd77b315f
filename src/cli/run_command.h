#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "cli/eval_arguments.h"
#include "cli/quantize_command.h"
#include "pipeline/demo.h"

namespace yoloquant::cli {

struct RunArguments : ModelArguments {
  std::filesystem::path out;
  std::string name;
  bool resume = false;
  std::vector<std::string> schemes{"w8a16", "w8a8", "w4a16", "w4a8"};
  graph::Head head = graph::Head::kOneToMany;
  int opset = 13;
  bool fp16 = false;
  QuantizationArguments quantization;
  EvaluationArguments evaluation;
  std::string qat = "off";
  double qat_bound = 0.02;
  int64_t qat_epochs = 5;
  double qat_fraction = 1;
  int64_t pictures = 0;
  Device device;

  void declare(Options& options);
};

struct DemoArguments {
  pipeline::DemoOptions options;
  std::optional<ImageSize> image_size;

  void declare(Options& options);
};

int run_run(const RunArguments& arguments, Context& context);
int run_demo(const DemoArguments& arguments, Context& context);

}  // namespace yoloquant::cli

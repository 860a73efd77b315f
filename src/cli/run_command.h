#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "cli/eval_arguments.h"
#include "cli/quantize_command.h"

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
  Device device;

  void declare(Options& options);
};

struct DemoArguments {
  std::string model;
  std::filesystem::path data;
  std::filesystem::path out;
  bool resume = false;
  int64_t max_images = 16;
  int64_t calib_images = 8;
  std::optional<ImageSize> image_size;
  std::vector<std::string> schemes{"w8a16", "w8a8", "w4a16", "w4a8"};
  uint64_t seed = 0;

  void declare(Options& options);
};

int run_run(const RunArguments& arguments, Context& context);
int run_demo(const DemoArguments& arguments, Context& context);

}  // namespace yoloquant::cli

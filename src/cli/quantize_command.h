#pragma once

#include <filesystem>
#include <string>

#include "cli/arguments.h"
#include "cli/command.h"
#include "pipeline/quantize.h"

namespace yoloquant::cli {

// What `quantize` and `run` both say about quantization.
struct QuantizationArguments {
  std::string method = "auto";
  std::string preset = "none";
  std::string defaults;  // YAML, see quant/config.h
  std::string layers;
  onnx::Layout layout = onnx::Layout::kQcdq;
  std::string effort = "fast";
  std::string tuned_heads = "exported";
  std::string time_budget;  // "10m"; "": no limit
  std::filesystem::path calib;
  int64_t calib_images = 100;
  int64_t verify_images = 2;

  void declare(Options& options);
  // Its parts: how, and on which images.
  void declare_settings(Options& options);
  void declare_calibration(Options& options);
  // All of it, for one scheme. Needs the quant layer (not LibTorch itself).
  void apply(const std::string& scheme, pipeline::QuantizeOptions& options) const;
};

// --mean-bits, --size, --max-harm.
struct BitBudgetArguments {
  pipeline::BitBudget budget;
  std::string size;  // "1.6MB"; "": no limit

  void declare(Options& options);
  // Throws Error (usage) for limits that make no sense.
  pipeline::BitBudget get() const;
};

struct QuantizeArguments : ModelArguments {
  std::filesystem::path out;
  std::string scheme = "w8a8";
  graph::Head head = graph::Head::kOneToMany;
  QuantizationArguments quantization;
  BitBudgetArguments bits;
  pipeline::QuantizeOptions options;
  Device device;

  void declare(Options& options);
};

int run_quantize(const QuantizeArguments& arguments, Context& context);

}  // namespace yoloquant::cli

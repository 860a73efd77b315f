#pragma once

#include <cstdint>
#include <filesystem>

#include "base/progress.h"
#include "cli/arguments.h"
#include "cli/command.h"
#include "runtime/diff.h"

namespace yoloquant::cli {

struct DiffInputs {
  std::filesystem::path images;  // list, folder or image; "": random values
  int64_t max_images = 4;
  uint64_t seed = 0;
};

// runtime::diff over one random input, or over images: largest differences are the largest of any
// image, means the mean over the images.
runtime::DiffReport diff_models(const std::filesystem::path& a, const std::filesystem::path& b,
                                const DiffInputs& inputs, const runtime::DiffOptions& options,
                                Progress& progress);

struct DiffArguments {
  std::filesystem::path a;
  std::filesystem::path b;
  DiffInputs inputs;
  bool per_node = false;
  bool graph_optimization = true;
  Device device;

  void declare(Options& options);
};

int run_diff(const DiffArguments& arguments, Context& context);

}  // namespace yoloquant::cli

#pragma once

#include <filesystem>

#include "cli/command.h"
#include "data/shapes.h"

namespace yoloquant::cli {

struct ShapesArguments {
  std::filesystem::path out;
  data::ShapesOptions options;

  void declare(Options& options);
};

int run_shapes(const ShapesArguments& arguments, Context& context);

}  // namespace yoloquant::cli

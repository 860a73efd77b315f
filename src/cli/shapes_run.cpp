#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "cli/shapes_command.h"

namespace yoloquant::cli {

int run_shapes(const ShapesArguments& arguments, Context& context) {
  const data::ShapesOptions& options = arguments.options;
  data::write_shapes(arguments.out, options, context.threads());
  context.result({{"path", arguments.out.string()},
                  {"train_images", options.train_images},
                  {"val_images", options.val_images},
                  {"seed", options.seed}},
                 fmt::format("{}: {} images to train on, {} to validate on\n",
                             arguments.out.string(), options.train_images, options.val_images));
  return 0;
}

}  // namespace yoloquant::cli

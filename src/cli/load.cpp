#include "cli/load.h"

namespace yoloquant::cli {

pipeline::LoadedModel load(const ModelArguments& arguments, Context& context) {
  pipeline::LoadOptions options;
  options.seed = arguments.seed;
  options.image_height = arguments.height();
  options.image_width = arguments.width();
  pipeline::LoadedModel model = pipeline::load_model(arguments.model, options);
  for (const std::string& warning : model.warnings) context.warn("{}", warning);
  return model;
}

}  // namespace yoloquant::cli

#include <map>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "cli/predict_command.h"

namespace yoloquant::cli {

namespace {

std::string result_text(const pipeline::PredictResult& result) {
  std::string text;
  for (const pipeline::ImagePredictions& image : result.images) {
    std::map<std::string, int> counts;
    for (const pipeline::Prediction& prediction : image.predictions) {
      ++counts[prediction.class_name];
    }
    text += image.image.string() + ":";
    for (const auto& [name, count] : counts) text += fmt::format(" {} {},", count, name);
    if (counts.empty()) text += " nothing";
    if (text.back() == ',') text.pop_back();
    text += '\n';
  }
  return text + fmt::format("{} ({})\n", result.json_path.string(), result.provider);
}

}  // namespace

int run_predict(const PredictArguments& arguments, Context& context) {
  arguments.check_model();
  pipeline::PredictOptions options = arguments.options;
  options.head = arguments.head.value_or(graph::Head::kBoth);
  options.seed = arguments.seed;
  options.image_height = arguments.height();
  options.image_width = arguments.width();
  options.provider = arguments.device.provider;
  options.device = arguments.device.index;
  options.threads = context.threads();
  const pipeline::PredictResult result = pipeline::predict(
      arguments.model, arguments.source, arguments.out, options, context.progress());
  for (const std::string& warning : result.warnings) context.warn("{}", warning);
  context.result(nlohmann::ordered_json::parse(read_file(result.json_path)), result_text(result));
  return 0;
}

}  // namespace yoloquant::cli

#include <nlohmann/json.hpp>

#include "base/text.h"
#include "cli/load.h"
#include "cli/sensitivity_command.h"
#include "cli/terminal.h"

namespace yoloquant::cli {

namespace {

constexpr size_t kShown = 15;

std::string result_text(const pipeline::SensitivityResult& result) {
  const report::SensitivityReport& report = result.report;
  std::string text =
      fmt::format("worst layers of {} ({}):\n\n", report.model,
                  report.base.empty() ? "one quantized at a time, all else float"
                                      : "raised one at a time, all else " + report.base);
  text += format_table(report::worst_table(report, kShown));
  text += fmt::format("\n{} measurements on {} images, {}\n", report.rows.size(), report.images,
                      human_seconds(report.seconds));
  if (result.mixed) text += pipeline::mixed_text(*result.mixed);
  for (const auto& file : result.files) text += file.string() + "\n";
  return text;
}

nlohmann::ordered_json result_json(const pipeline::SensitivityResult& result) {
  nlohmann::ordered_json json = report::sensitivity_json(result.report);
  if (result.mixed) json["mixed"] = pipeline::mixed_json(*result.mixed);
  for (const auto& file : result.files) json["files"].push_back(file.string());
  return json;
}

}  // namespace

int run_sensitivity(const SensitivityArguments& arguments, Context& context) {
  arguments.check_model();
  // What quantize would be told, for its settings, method and calibration images.
  pipeline::QuantizeOptions quantize;
  arguments.quantization.apply(arguments.scheme, quantize);
  pipeline::SensitivityOptions options = arguments.options;
  options.config = quantize.config;
  if (arguments.rounding == "gptq") options.rounding = quant::Rounding::kGptq;
  options.layout = quantize.layout;
  options.effort = quantize.effort;
  options.seconds = quantize.seconds;
  options.calibration = quantize.calibration;
  options.budget = arguments.bits.get();
  options.head = arguments.head;
  options.seed = arguments.seed.value_or(0);
  options.calibration.seed = options.seed;
  options.device = arguments.device.executor_name();
  options.threads = context.threads();
  options.image_height = arguments.height();
  options.image_width = arguments.width();

  const pipeline::LoadedModel model = load(arguments, context);
  const pipeline::SensitivityResult result =
      pipeline::measure_sensitivity(model, arguments.out, options, context.progress());
  context.result(result_json(result), result_text(result));
  return 0;
}

}  // namespace yoloquant::cli

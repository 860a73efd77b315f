#include <nlohmann/json.hpp>

#include "base/text.h"
#include "cli/config_file.h"
#include "cli/load.h"
#include "cli/quantize_command.h"
#include "cli/terminal.h"
#include "quant/config.h"

namespace yoloquant::cli {

namespace {

nlohmann::ordered_json result_json(const pipeline::QuantizeResult& result) {
  nlohmann::ordered_json json{{"path", result.path.string()},
                              {"scheme", result.scheme},
                              {"method", result.method},
                              {"calibration_images", result.calibration_images},
                              {"seconds", result.seconds},
                              {"mean_weight_bits", quant::mean_weight_bits(result.layers)},
                              {"check", onnx::to_json(result.check)},
                              {"verification", pipeline::verification_json(result.verification)},
                              {"layers", pipeline::layers_json(result.layers)},
                              {"warnings", result.warnings}};
  if (result.mixed) json["mixed"] = pipeline::mixed_json(*result.mixed);
  return json;
}

int64_t count_of(const onnx::CheckReport& check, const std::string& op) {
  const auto found = check.op_counts.find(op);
  return found == check.op_counts.end() ? 0 : found->second;
}

std::string result_text(const pipeline::QuantizeResult& result) {
  const onnx::CheckReport& check = result.check;
  std::string text = fmt::format("{}: {}, {}, QuantizeLinear {}, DequantizeLinear {}, Clip {}\n",
                                 result.path.string(), result.scheme,
                                 human_bytes(static_cast<double>(check.file_bytes)),
                                 count_of(check, "QuantizeLinear"),
                                 count_of(check, "DequantizeLinear"), count_of(check, "Clip"));
  text += fmt::format("method {}, {} calibration images, {}\n", result.method,
                      result.calibration_images, human_seconds(result.seconds));
  if (result.mixed) text += pipeline::mixed_text(*result.mixed);
  const pipeline::Verification& v = result.verification;
  if (v.images > 0) {
    text += fmt::format(
        "simulator against ONNX Runtime ({}, {} images): max score difference {:.2g} optimized, "
        "{:.2g} not; max box difference {:.2g} and {:.2g} pixels\n",
        v.provider, v.images, v.optimized.max_score, v.unoptimized.max_score,
        v.optimized.max_box_pixels, v.unoptimized.max_box_pixels);
  }
  return text;
}

}  // namespace

pipeline::BitBudget BitBudgetArguments::get() const {
  pipeline::BitBudget result = budget;
  if (!size.empty()) result.bytes = pipeline::parse_byte_size(size);
  result.check();
  return result;
}

void QuantizationArguments::apply(const std::string& scheme,
                                  pipeline::QuantizeOptions& options) const {
  // The rules' own parser reports what is wrong with them.
  const auto indented = [](const std::string& yaml) {
    std::string text;
    for (const std::string& line : split(yaml, '\n')) text += "\n  " + line;
    return text;
  };
  std::string yaml;
  if (!defaults.empty()) yaml += "defaults:" + indented(defaults) + "\n";
  if (!layers.empty()) yaml += "layers:" + indented(layers) + "\n";
  options.config = quant::parse_config(yaml, "defaults and layers");
  options.config.scheme = quant::parse_scheme(scheme);
  options.config.method = method;
  options.config.preset = quant::parse_preset(preset);
  options.layout = layout;
  options.effort = quant::parse_effort(effort);
  options.tuned_heads = pipeline::parse_tuned_heads(tuned_heads);
  if (!time_budget.empty()) options.seconds = parse_seconds(time_budget);
  options.calibration.source = calib;
  options.calibration.images = calib_images;
  options.verify_images = verify_images;
}

int run_quantize(const QuantizeArguments& arguments, Context& context) {
  arguments.check_model();
  pipeline::QuantizeOptions options = arguments.options;
  arguments.quantization.apply(arguments.scheme, options);
  options.bit_budget = arguments.bits.get();
  options.head = arguments.head;
  options.seed = arguments.seed.value_or(0);
  options.calibration.seed = options.seed;
  options.device = arguments.device.executor_name();
  options.threads = context.threads();
  options.image_height = arguments.height();
  options.image_width = arguments.width();

  const pipeline::LoadedModel model = load(arguments, context);

  const pipeline::QuantizeResult result =
      pipeline::quantize_onnx(model, arguments.out, options, context.progress());
  for (const std::string& warning : result.warnings) context.warn("{}", warning);
  context.log(LogLevel::kDebug, format_table(quant::layer_table(result.layers)));
  context.result(result_json(result), result_text(result));
  return 0;
}

}  // namespace yoloquant::cli

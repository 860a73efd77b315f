#include <nlohmann/json.hpp>

#include "base/file.h"
#include "cli/eval_arguments.h"
#include "cli/fidelity_report.h"

namespace yoloquant::cli {

namespace {

std::string percent_row(const pipeline::EvalResult& result) {
  const eval::CocoFigures& f = result.coco.figures;
  std::string text = fmt::format("mAP50-95 {:.4f}", f.ap);
  if (result.intervals) {
    const eval::Interval& interval = result.intervals->map_50_95;
    text += fmt::format(" (95 % interval {:.4f} to {:.4f})", interval.low, interval.high);
  }
  return text + fmt::format(
                    ", mAP50 {:.4f}, mAP75 {:.4f}; small {:.4f}, medium {:.4f}, large "
                    "{:.4f}\n",
                    f.ap50, f.ap75, f.ap_small, f.ap_medium, f.ap_large);
}

std::string result_text(const pipeline::EvalResult& result) {
  std::string text = percent_row(result);
  text += fmt::format("{} images, {} detections, {} head, {}x{}, {}\n", result.coco.num_images,
                      result.coco.num_detections, graph::head_name(result.head),
                      result.image_height, result.image_width, result.provider);
  if (result.latency) {
    text += fmt::format("latency: mean {:.2f} ms, median {:.2f}, p90 {:.2f}, {:.1f} images/s\n",
                        result.latency->mean_ms, result.latency->median_ms, result.latency->p90_ms,
                        result.latency->throughput_fps);
  }
  if (result.fidelity) text += fidelity_line(result.fidelity->fidelity);
  if (result.difference) {
    const eval::Interval& interval = result.difference->map_50_95;
    text +=
        fmt::format("mAP50-95 minus the reference's {:+.4f} (95 % interval {:+.4f} to {:+.4f})\n",
                    interval.estimate, interval.low, interval.high);
  }
  return text + result.metrics_path.string() + '\n';
}

std::string result_text(const pipeline::FidelityResult& result) {
  return fidelity_text(result) +
         fmt::format("{} head against {} head, {}x{}, {}\n{}\n", graph::head_name(result.head),
                     graph::head_name(result.reference_head), result.image_height,
                     result.image_width, result.provider, result.fidelity_path.string());
}

template <typename Result>
int show(const Result& result, const std::filesystem::path& json, Context& context) {
  for (const std::string& warning : result.warnings) context.warn("{}", warning);
  context.result(nlohmann::ordered_json::parse(read_file(json)), result_text(result));
  return 0;
}

}  // namespace

int run_eval(const EvalArguments& arguments, Context& context) {
  const bool without_labels = arguments.without_labels();
  arguments.check_model();
  if (!arguments.evaluation.options.against.empty()) {
    ModelArguments reference;
    reference.model = arguments.evaluation.options.against;
    reference.check_model();
  }
  pipeline::EvalOptions options = arguments.evaluation.options;
  arguments.evaluation.apply(options);
  options.head = arguments.head.value_or(graph::Head::kBoth);
  options.seed = arguments.seed;
  options.image_height = arguments.height();
  options.image_width = arguments.width();
  options.provider = arguments.device.provider;
  options.device = arguments.device.index;
  options.threads = context.threads();
  if (without_labels) {
    const pipeline::FidelityResult result =
        pipeline::evaluate_fidelity(arguments.model, arguments.out, options, context.progress());
    return show(result, result.fidelity_path, context);
  }
  const pipeline::EvalResult result =
      pipeline::evaluate_model(arguments.model, arguments.out, options, context.progress());
  return show(result, result.metrics_path, context);
}

}  // namespace yoloquant::cli

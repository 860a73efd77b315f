#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/text.h"
#include "cli/quantize_command.h"
#include "cli/train_command.h"
#include "cli/train_ranks.h"

namespace yoloquant::cli {

namespace {

train::Precision precision_of(const std::string& amp, const std::string& device) {
  if (amp != "auto") return train::parse_precision(amp);
  return device == "cpu" ? train::Precision::kFloat32 : train::Precision::kFloat16;
}

nlohmann::ordered_json result_json(const pipeline::TrainResult& result) {
  return {{"root", result.root.string()},
          {"epochs", result.epochs},
          {"stopped_early", result.stopped},
          {"best_epoch", result.best_epoch},
          {"best_fitness", result.best_fitness},
          {"mAP_50", result.map50},
          {"mAP_50_95", result.map},
          {"seconds", result.seconds},
          {"best", (result.root / "weights" / "best.pt").string()},
          {"last", (result.root / "weights" / "last.pt").string()}};
}

std::string result_text(const pipeline::TrainResult& result) {
  std::string text = fmt::format("{} epochs in {}{}: mAP50 {:.4f}, mAP50-95 {:.4f}\n",
                                 result.epochs, human_seconds(result.seconds),
                                 result.stopped ? ", stopped as nothing got better" : "",
                                 result.map50, result.map);
  if (result.best_epoch > 0) {
    text += fmt::format("best: epoch {}, {}\n", result.best_epoch,
                        (result.root / "weights" / "best.pt").string());
  }
  return text;
}

}  // namespace

pipeline::TrainOptions train_options(const TrainArguments& arguments, Context& context) {
  ModelArguments model;
  model.model = arguments.model;
  model.check_model();
  pipeline::TrainOptions options = arguments.options;
  options.model = arguments.model;
  options.data.seed = options.seed;
  if (arguments.image_size) {
    if (arguments.image_size->height != arguments.image_size->width) {
      fail_usage("--imgsz of a training is one number");
    }
    options.image_size = arguments.image_size->height;
  }
  if (arguments.device.provider == runtime::Provider::kTensorRt) {
    fail_usage("--device tensorrt cannot train: it is auto, cpu or cuda");
  }
  options.ranks = own_rank();
  options.trainer.device = device_of(options.ranks, arguments.device.executor_name());
  options.trainer.precision = precision_of(arguments.amp, options.trainer.device);
  options.trainer.optimizer = train::parse_optimizer(arguments.optimizer);
  options.threads = threads_of(options.ranks, context.threads());
  options.command_yaml = context.options_yaml();
  return options;
}

pipeline::TrainEvents train_events(Context& context) {
  pipeline::TrainEvents events;
  events.info = [&](std::string_view line) { context.info("{}", line); };
  events.warning = [&](std::string_view line) { context.warn("{}", line); };
  return events;
}

int run_train(const TrainArguments& arguments, Context& context) {
  if (launch_copies(arguments.processes, arguments.options.batch, context)) return 0;
  pipeline::TrainOptions options = train_options(arguments, context);
  if (!arguments.scheme.empty()) {
    options.qat = arguments.qat.get();
    if (arguments.qat.step_rate == 0) {
      options.qat->options.step_rate = train::scratch_step_rate(options.trainer.optimizer);
    }
    if (arguments.qat.progressive.empty()) options.qat->options.stages = train::scratch_stages();
    QuantizationArguments quantization;
    quantization.layers = arguments.layers;
    pipeline::QuantizeOptions parsed;
    quantization.apply(arguments.scheme, parsed);
    options.qat->config = parsed.config;
  }
  const pipeline::TrainEvents events = train_events(context);
  const pipeline::TrainResult result = pipeline::train(options, events, context.progress());
  if (options.ranks.rank == 0) context.result(result_json(result), result_text(result));
  return 0;
}

}  // namespace yoloquant::cli

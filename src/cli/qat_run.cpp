#include "base/error.h"
#include "cli/qat_command.h"
#include "cli/run_result.h"

namespace yoloquant::cli {

int run_qat(const QatRunArguments& arguments, Context& context) {
  pipeline::RunOptions options;
  options.qat.when = pipeline::QatWhen::kOn;
  options.qat.in_root = true;
  options.qat.train = train_options(arguments.training, context);
  options.qat.train.qat = arguments.training.qat.get();
  options.qat.train.data.val_images = arguments.max_images;
  options.qat.events = train_events(context);
  const pipeline::TrainOptions& train = options.qat.train;
  if (arguments.training.processes > 1 || train.ranks.world_size > 1) {
    fail_usage("qat trains in one process; train --scheme takes several");
  }
  if (train.data.coco.empty()) fail_usage("name the data set's folder (--coco)");

  options.model = train.model;
  options.load.image_height = options.load.image_width = train.image_size;
  options.root = train.out;
  options.resume = can_resume(train.out, train.resume, context);
  options.baseline.head = arguments.head;
  options.baseline.image_height = options.baseline.image_width = train.image_size;

  arguments.quantization.apply(arguments.scheme, options.quantize);
  options.variants = pipeline::scheme_variants({arguments.scheme}, options.quantize.config);
  options.quantize.calibration.coco_root = train.data.coco;
  options.quantize.seed = options.quantize.calibration.seed = train.seed;
  options.quantize.device = train.trainer.device;
  options.quantize.threads = context.threads();

  options.eval.coco_root = train.data.coco;
  options.eval.split = train.data.val_split;
  options.eval.max_images = arguments.max_images;
  options.eval.skip_latency = arguments.skip_latency;
  options.eval.bootstrap_seed = train.seed;
  options.eval.provider = arguments.training.device.provider;
  options.eval.device = arguments.training.device.index;
  options.eval.threads = context.threads();
  return show(pipeline::run_pipeline(options, context.progress()), context);
}

}  // namespace yoloquant::cli

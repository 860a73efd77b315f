#include "pipeline/run.h"

#include "base/error.h"
#include "cli/program.h"
#include "cli/qat_command.h"
#include "cli/run_command.h"
#include "cli/run_result.h"
#include "cli/sensitivity_command.h"
#include "cli/train_command.h"
#include "exec/executor.h"
#include "pipeline/demo.h"
#include "pipeline/short_training.h"

namespace yoloquant::cli {

namespace {

// Short trainings on the run's data.
void set_qat(const RunArguments& arguments, pipeline::RunOptions& options, Context& context) {
  pipeline::RunQat& qat = options.qat;
  qat.when = pipeline::parse_qat_when(arguments.qat);
  qat.bound = arguments.qat_bound;
  if (qat.when == pipeline::QatWhen::kOff) return;
  pipeline::QatSettings settings;
  pipeline::set_short_training(qat.train, settings);
  qat.train.qat = settings;
  qat.train.trainer.schedule.epochs = arguments.qat_epochs;
  qat.train.data.coco = options.eval.coco_root;
  qat.train.data.val_split = options.eval.split;
  qat.train.data.fraction = arguments.qat_fraction;
  qat.train.data.val_images = options.eval.max_images;
  qat.train.seed = qat.train.data.seed = options.quantize.seed;
  qat.train.trainer.device = exec::resolve_device(options.quantize.device);
  qat.train.threads = context.threads();
  qat.events = train_events(context);
}

}  // namespace

int run_run(const RunArguments& arguments, Context& context) {
  arguments.check_model();
  pipeline::RunOptions options;
  options.model = arguments.model;
  options.load.seed = arguments.seed;
  options.load.image_height = arguments.height();
  options.load.image_width = arguments.width();
  options.name = arguments.name;
  options.root = arguments.out;
  options.resume = can_resume(arguments.out, arguments.resume, context);
  options.export_fp16 = arguments.fp16;

  options.baseline.head = arguments.head;
  options.baseline.opset = arguments.opset;
  options.baseline.image_height = arguments.height();
  options.baseline.image_width = arguments.width();

  if (arguments.schemes.empty()) fail_usage("--schemes is empty");
  arguments.quantization.apply(arguments.schemes.front(), options.quantize);
  options.variants = pipeline::scheme_variants(arguments.schemes, options.quantize.config);
  options.pictures.images = arguments.pictures;
  options.quantize.opset = arguments.opset;
  options.quantize.calibration.coco_root = arguments.evaluation.options.coco_root;
  options.quantize.seed = arguments.seed.value_or(0);
  options.quantize.calibration.seed = options.quantize.seed;
  options.quantize.device = arguments.device.executor_name();
  options.quantize.threads = context.threads();

  options.eval = arguments.evaluation.options;
  arguments.evaluation.apply(options.eval);
  options.eval.seed = arguments.seed;
  options.eval.bootstrap_seed = options.quantize.seed;
  options.eval.provider = arguments.device.provider;
  options.eval.device = arguments.device.index;
  options.eval.threads = context.threads();
  set_qat(arguments, options, context);
  return show(pipeline::run_pipeline(options, context.progress()), context);
}

int run_demo(const DemoArguments& arguments, Context& context) {
  pipeline::DemoOptions options = arguments.options;
  options.resume = can_resume(options.out, options.resume, context);
  if (arguments.image_size && arguments.image_size->height != arguments.image_size->width) {
    fail_usage("--imgsz of the demo is one number");
  }
  options.image_size = arguments.image_size ? arguments.image_size->height : 0;
  options.threads = context.threads();
  options.events = train_events(context);
  return show(pipeline::run_demo(options, context.progress()), context);
}

Runners all_runners() {
  Runners runners = image_runners();
  runners.quantize = run_quantize;
  runners.sensitivity = run_sensitivity;
  runners.run = run_run;
  runners.demo = run_demo;
  runners.train = run_train;
  runners.qat = run_qat;
  return runners;
}

}  // namespace yoloquant::cli

#include "cli/run_command.h"

#include "cli/commands.h"

namespace yoloquant::cli {

void RunArguments::declare(Options& o) {
  o.section("Arguments");
  declare_model(o);
  evaluation.declare_data(o).is_required();
  o.section("Run");
  o.add("out", &out, "folder of the run (tmp/NAME/RUN-ID when not given)")
      .value_name("RUN_ROOT")
      .completes(Completion::kFolders);
  o.add("name", &name, "of the run (the model's when not given)");
  o.add("resume", &resume, "go on with the run in RUN_ROOT; finished stages are not repeated");
  o.section("Models");
  o.add("schemes", &schemes, "bits of weights and activations, wNaM each (a16: float)");
  declare_head(o, &head);
  o.add("opset", &opset, "ONNX operator set").between(onnx::kMinOpset, onnx::kMaxOpset);
  o.add("fp16", &fp16, "a half-precision baseline beside the FP32 one");
  declare_size(o);
  quantization.declare(o);
  evaluation.declare_detection(o);
  evaluation.declare_reference_score(o);
  evaluation.declare_latency(o);
  o.add("pictures", &pictures,
        "draw the first so many images with the detections of all models side by side; 0: none")
      .at_least(0);
  o.section("Training");
  o.add("qat", &qat,
        "train quantized models for a short time: those that lose more than a bound (auto), or all "
        "(on)")
      .one_of({"off", "auto", "on"});
  o.add("qat-bound", &qat_bound, "loss of mAP50-95 against the baseline from which auto trains")
      .between(0, 1);
  o.add("qat-epochs", &qat_epochs, "of a training").at_least(1);
  o.add("qat-fraction", &qat_fraction, "part of the training images, drawn by seed").between(0, 1);
  o.section("Computation");
  declare_device(o, &device);
  declare_seed(o, ", the draw of calibration images, methods, and resampling");
}

void DemoArguments::declare(Options& o) {
  o.section("Example");
  o.add("model", &options.model, "a model of your own instead of the built-in one")
      .value_name("MODEL")
      .completes(Completion::kModels);
  o.add("data", &options.data, "a COCO-format data set instead of shapes drawn on the fly")
      .value_name("ROOT")
      .completes(Completion::kFolders);
  o.add("max-images", &options.max_images, "images to evaluate").at_least(1);
  o.add("calib-images", &options.calib_images, "images to calibrate with").at_least(1);
  o.add("imgsz", &image_size, "input size in pixels (320, or the size of your own model)");
  o.add("schemes", &options.schemes,
        "bits of weights and activations, wNaM each (a16: float); of the last, the reference's "
        "quantization and a training are shown too");
  o.add("qat-epochs", &options.qat_epochs,
        "of that training; 0: none (2, or none with a model of your own)")
      .at_least(0);
  o.add("qat-images", &options.qat_images, "images to train on").at_least(1);
  o.add("seed", &options.seed, "of the drawn images");
  o.section("Run");
  o.add("out", &options.out, "folder of the run (tmp/demo/RUN-ID when not given)")
      .value_name("RUN_ROOT")
      .completes(Completion::kFolders);
  o.add("resume", &options.resume,
        "go on with the run in RUN_ROOT; finished stages are not repeated");
}

Command run_command(Runner<RunArguments> runner) {
  CommandInfo info;
  info.name = "run";
  info.program = Program::kEngine;
  info.summary = "all of it: export, quantize, check, evaluate, compare";
  info.details =
      "Exports the baseline, quantizes it with each scheme, checks and evaluates all files, and "
      "compares them in summary.md of the run's folder. MODEL may also be a file of options, as "
      "for "
      "--config. A run that was interrupted goes on with --resume.";
  info.examples = {
      {"Four schemes on 50 images",
       "yoloquant run yolov10n.pt --coco coco --schemes w8a16,w8a8,w4a16,w4a8 --calib "
       "coco/calib100.txt --max-images 50 --out tmp/yolov10n"},
      {"The same from a file, as printed by --dump-config", "yoloquant run --config run.yaml"}};
  info.config_positional = true;
  return define<RunArguments>(std::move(info), runner);
}

Command demo_command(Runner<DemoArguments> runner) {
  CommandInfo info;
  info.name = "demo";
  info.program = Program::kEngine;
  info.summary = "a whole run on a small example";
  info.details =
      "Does what run does, on an example: by default on images of shapes drawn on the fly, with a "
      "small model that was trained on such images. Shows the baseline, what the reference's way "
      "of quantization makes of it at 4 bits, quantization that holds, a short training of the "
      "quantized model, file sizes, latency, and pictures with detections.";
  info.examples = {{"One to two minutes", "yoloquant demo"},
                   {"On your own model and data",
                    "yoloquant demo --model yolov10n.pt --data coco --max-images 50"}};
  return define<DemoArguments>(std::move(info), runner);
}

}  // namespace yoloquant::cli

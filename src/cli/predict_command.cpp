#include "cli/predict_command.h"

#include "cli/commands.h"

namespace yoloquant::cli {

void PredictArguments::declare(Options& o) {
  o.section("Arguments");
  declare_model(o);
  o.positional("source", &source, "an image, a folder of images, or a text file with their names")
      .is_required()
      .completes(Completion::kFiles);
  o.section("Output");
  o.add("out", &out, "folder for predictions.json, images/ and labels/")
      .is_required()
      .value_name("DIR")
      .completes(Completion::kFolders);
  o.add("write-images", &options.write_images, "images with the boxes drawn");
  o.add("write-txt", &options.write_txt,
        "text files with class, center, size (relative) and score, one line a box");
  o.section("Model");
  declare_wanted_head(o, &head);
  declare_size(o);
  declare_seed(o);
  o.section("Detections");
  o.add("conf", &options.conf, "scores must be above").between(0, 1);
  o.add("iou", &options.iou, "overlap above which NMS drops a box").between(0, 1);
  o.add("max-det", &options.max_det, "detections an image").between(1, 100000);
  o.section("Computation");
  declare_device(o, &device);
}

Command predict_command(Runner<PredictArguments> runner) {
  CommandInfo info;
  info.name = "predict";
  info.program = Program::kImageEngine;
  info.summary = "detect objects in images";
  info.details =
      "Detects objects in images with ONNX Runtime and writes them as JSON, as images with boxes "
      "drawn, and as YOLO text files.";
  info.examples = {{"A folder of images",
                    "yoloquant predict yolov10n_w8a8.onnx photos --conf 0.3 --out predictions"}};
  return define<PredictArguments>(std::move(info), runner);
}

}  // namespace yoloquant::cli

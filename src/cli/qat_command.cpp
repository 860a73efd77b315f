#include "cli/qat_command.h"

#include "cli/commands.h"
#include "pipeline/short_training.h"

namespace yoloquant::cli {

QatRunArguments::QatRunArguments() {
  pipeline::set_short_training(training.options, training.qat.settings);
}

void QatRunArguments::declare(Options& o) {
  training.declare_model(o, "checkpoint whose quantized model is trained");
  training.declare_training(o);
  o.section("Quantization");
  o.add("scheme", &scheme, "bits of weights and activations: w4a8, w4a16, w8a8, or any wNaM")
      .value_name("wNaM");
  declare_head(o, &head);
  quantization.declare(o);
  training.qat.declare(o);
  o.section("Evaluation");
  o.add("max-images", &max_images, "validation images, the first so many; 0: all").at_least(0);
  o.add("skip-latency", &skip_latency, "do not time the files");
}

Command qat_command(Runner<QatRunArguments> runner) {
  CommandInfo info;
  info.name = "qat";
  info.program = Program::kEngine;
  info.summary = "train a quantized model for a short time";
  info.details =
      "Quantizes a model after training as quantize does, goes on from there with training steps "
      "in which the quantizers take part, and writes the best state, the start included. Baseline, "
      "post-training quantization and training are evaluated as files and compared in summary.md. "
      "See docs/qat.md.";
  info.examples = {
      {"Five epochs on a tenth of COCO",
       "yoloquant qat yolov10n.pt --coco coco --scheme w4a8 --fraction 0.1 --epochs 5 --out "
       "runs/qat"},
      {"200 steps", "yoloquant qat yolov10n.pt --coco coco --scheme w4a16 --steps 200 --out q16"}};
  return define<QatRunArguments>(std::move(info), runner);
}

}  // namespace yoloquant::cli

#include "cli/sensitivity_command.h"

#include "cli/commands.h"

namespace yoloquant::cli {

void SensitivityArguments::declare(Options& o) {
  o.section("Arguments");
  declare_model(o);
  o.section("Output");
  o.add("out", &out, "folder for sensitivity.json, .csv, .md and .svg, and mixed.yaml")
      .is_required()
      .value_name("DIR")
      .completes(Completion::kFolders);
  o.section("Measurement");
  declare_head(o, &head);
  o.add("bits", &options.bits, "of weights, and from 4 on of activations").value_name("N");
  o.add("rounding", &rounding,
        "of the weights of a layer by itself: to nearest, or as quantize's default method begins")
      .one_of({"nearest", "gptq"});
  o.add("activations", &options.activations, "measure activations, not only weights");
  o.add("blocks", &options.blocks, "measure modules with several convs, too");
  o.add("fidelity", &options.fidelity,
        "mAP against the float model's confident detections for each measurement");
  o.add("images", &options.images, "calibration images to measure on; 0: all").at_least(0);
  o.add("coco", &options.coco_root, "labelled images, for mAP of each measurement")
      .value_name("ROOT")
      .completes(Completion::kFolders);
  o.add("split", &options.split, "val2017, train2017, ...");
  o.add("max-images", &options.max_images, "the first N labelled images by id; 0: all").at_least(0);
  declare_size(o);
  bits.declare(o);
  quantization.declare_settings(o);
  o.add("scheme", &scheme, "of mixed.yaml, and of the model that --method quantizes")
      .value_name("wNaM");
  quantization.declare_calibration(o);
  o.section("Computation");
  declare_device(o, &device);
  declare_seed(o, ", the draw of calibration images, and methods");
}

Command sensitivity_command(Runner<SensitivityArguments> runner) {
  CommandInfo info;
  info.name = "sensitivity";
  info.program = Program::kEngine;
  info.summary = "which layers suffer from few bits, and what bits to give them";
  info.details =
      "Quantizes one conv or block at a time, weights and activations apart, and measures how far "
      "the outputs are from the float model's. With a budget it chooses the bits of each layer and "
      "writes them as a configuration for quantize. With a --method other than nearest everything "
      "is quantized by it first, and what is measured is the gain by raising single layers.";
  info.examples = {
      {"All layers at 3, 4, 6 and 8 bits",
       "yoloquant sensitivity yolov10n.pt --calib coco/calib100.txt --out sensitivity"},
      {"Bits by layer, 4.5 on average, for quantize --config sensitivity/mixed.yaml",
       "yoloquant sensitivity yolov10n.pt --calib coco/calib100.txt --mean-bits 4.5 "
       "--rounding gptq --no-activations --no-blocks --out sensitivity"}};
  return define<SensitivityArguments>(std::move(info), runner);
}

}  // namespace yoloquant::cli

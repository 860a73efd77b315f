#include "cli/quantize_command.h"

#include "cli/commands.h"

namespace yoloquant::cli {

void QuantizationArguments::declare(Options& o) {
  declare_settings(o);
  o.add("tuned-heads", &tuned_heads,
        "what weights are fitted to: the head that is written, or both heads, so that what they "
        "share serves both")
      .one_of({"exported", "both"});
  declare_calibration(o);
  o.add("verify-images", &verify_images,
        "images on which the file must agree with the simulator; 0: no check")
      .at_least(0);
}

void QuantizationArguments::declare_settings(Options& o) {
  o.section("Quantization");
  o.add("method", &method,
        "how weights are rounded; several compose: a,b. auto: nearest at 7 bits and more, "
        "gptq below, gptq,teacher with an effort above fast");
  o.add("preset", &preset, "reference repeats the choices of the published reference pipeline")
      .one_of({"none", "reference"});
  o.add("layout", &layout,
        "of the file: qcdq, int4 (4-bit weights take 4 bits; opset 21 at least), deploy (8-bit "
        "activations placed for the runtime's integer kernels)")
      .one_of({"qcdq", "int4", "deploy"});
  o.add("effort", &effort, "of methods beyond nearest").one_of({"fast", "normal", "max"});
  o.add("time-budget", &time_budget,
        "what methods may take: 90s, 10m, 1.5h; no limit when not given")
      .value_name("TIME");
  o.add_tree(
      "defaults", &defaults,
      "settings of all layers: skip, weight_bits, activation_bits, granularity, weight_scale, "
      "weight_norm, narrow_range, symmetric, activation_range (chosen, mean_minmax, minmax, "
      "percentile, "
      "mse, fixed), percentile, activation_norm, activation_low, activation_high");
  o.add_tree("layers", &layers,
             "rules for single layers, later ones win: [{match: model.23.*, weight_bits: 8}]");
}

void QuantizationArguments::declare_calibration(Options& o) {
  o.section("Calibration");
  o.add("calib", &calib, "calibration images: a list file or a folder")
      .value_name("LIST_OR_DIR")
      .completes(Completion::kFiles);
  o.add("calib-images", &calib_images,
        "how many of them, drawn by seed when there are more; 0: all")
      .at_least(0);
}

void BitBudgetArguments::declare(Options& o) {
  o.section("Bits by layer");
  o.add("mean-bits", &budget.mean_bits,
        "choose the bits of each layer's weights (3, 4, 6 or 8) by sensitivity, with this mean");
  o.add("size", &size, "the same, with codes of this size in all: 1.6MB (scales not counted)")
      .value_name("BYTES");
  o.add("max-harm", &budget.max_harm,
        "the same, as small as this predicted harm allows (see docs/quantization.md)");
}

void QuantizeArguments::declare(Options& o) {
  o.section("Arguments");
  declare_model(o);
  o.section("Output");
  o.add("out", &out, "ONNX file to write").is_required().completes(Completion::kFiles);
  o.add("scheme", &scheme,
        "bits of weights and activations: w8a16, w8a8, w4a16, w4a8, or any wNaM (a16: float)")
      .value_name("wNaM");
  declare_head(o, &head);
  o.add("precision", &options.precision, "of what stays float").one_of({"fp32", "fp16"});
  o.add("opset", &options.opset, "ONNX operator set").between(onnx::kMinOpset, onnx::kMaxOpset);
  o.add("dynamic", &options.dynamic, "symbolic batch, height and width");
  declare_size(o);
  quantization.declare(o);
  bits.declare(o);
  o.add("sensitivity-images", &options.sensitivity_images,
        "calibration images to measure sensitivity on; 0: all")
      .at_least(0);
  o.add("resume", &options.resume, "go on from OUT.state, which an interrupted run leaves");
  o.section("Computation");
  declare_device(o, &device);
  o.add("batch", &options.batch, "images a calibration step").between(1, 4096);
  declare_seed(o, ", the draw of calibration images, and methods");
}

Command quantize_command(Runner<QuantizeArguments> runner) {
  CommandInfo info;
  info.name = "quantize";
  info.program = Program::kEngine;
  info.summary = "quantize a model and write it as QCDQ ONNX";
  info.details =
      "Quantizes a model after training and writes a QCDQ ONNX file. The file is checked, and run "
      "in "
      "ONNX Runtime against the simulator that calibrated it; a mismatch is an error.";
  info.examples = {
      {"8-bit weights and activations",
       "yoloquant quantize yolov10n.pt --scheme w8a8 --head one2many --calib coco/calib100.txt "
       "--calib-images 100 --out yolov10n_w8a8.onnx"},
      {"Weights of 4.5 bits on average, more where it matters",
       "yoloquant quantize yolov10n.pt --scheme w4a8 --method gptq --mean-bits 4.5 --calib "
       "coco/calib100.txt --out yolov10n_mixed.onnx"},
      {"4-bit weights, 8 in the last layers",
       "yoloquant quantize yolov10n.pt --scheme w4a16 --layers '[{match: model.23.*, weight_bits: "
       "8}]' --out yolov10n_w4a16.onnx"}};
  return define<QuantizeArguments>(std::move(info), runner);
}

}  // namespace yoloquant::cli

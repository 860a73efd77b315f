#include <algorithm>

#include "base/error.h"
#include "base/file.h"
#include "base/text.h"
#include "cli/commands.h"
#include "cli/eval_arguments.h"

namespace yoloquant::cli {

namespace {

// A file with ids separated by blanks, commas or newlines, or a JSON list.
std::vector<int64_t> read_image_ids(const std::filesystem::path& path) {
  std::string text = read_file(path);
  std::replace_if(
      text.begin(), text.end(),
      [](char c) {
        return c == '[' || c == ']' || c == '\n' || c == '\r' || c == '\t' || c == ' ';
      },
      ',');
  std::vector<int64_t> ids;
  for (const std::string& word : split(text, ',')) {
    if (!word.empty()) ids.push_back(OptionValue<int64_t>::parse(word));
  }
  if (ids.empty()) fail("no image id in it");
  return ids;
}

}  // namespace

Option& EvaluationArguments::declare_data(Options& o) {
  o.section("Data");
  Option& coco =
      o.add("coco", &options.coco_root, "data set: annotations/instances_SPLIT.json and images")
          .value_name("ROOT")
          .completes(Completion::kFolders);
  o.add("split", &options.split, "val2017, train2017, ...");
  o.add("max-images", &options.max_images,
        "the first N images, by id or in the list's order; 0: all")
      .at_least(0);
  o.add("image-ids", &image_ids, "these images: ids, or a file with them")
      .value_name("IDS|FILE")
      .completes(Completion::kFiles);
  return coco;
}

void EvaluationArguments::declare_detection(Options& o) {
  o.section("Detections");
  o.add("conf", &options.conf, "scores must be above").between(0, 1);
  o.add("iou", &options.iou, "overlap above which NMS drops a box").between(0, 1);
  o.add("max-det", &options.max_det, "detections an image").between(1, 100000);
  o.add("pre-nms-topk", &options.pre_nms_topk, "candidates that enter NMS").at_least(1);
  o.add("resamples", &options.bootstrap_resamples,
        "bootstrap resamples of the confidence intervals; 0: none")
      .between(0, 1000000);
}

void EvaluationArguments::declare_reference_score(Options& o) {
  o.add("reference-score", &options.reference_score,
        "fidelity: detections of the reference from this score on count")
      .between(0, 1);
}

void EvaluationArguments::declare_latency(Options& o) {
  o.section("Latency");
  o.add("skip-latency", &options.skip_latency, "do not time the model");
  o.add("warmup-runs", &options.warmup_runs, "untimed runs before").between(0, 100000);
  o.add("latency-runs", &options.latency_runs, "timed runs").between(1, 1000000);
}

void EvaluationArguments::apply(pipeline::EvalOptions& target) const {
  if (image_ids.size() == 1 && std::filesystem::is_regular_file(image_ids[0])) {
    target.image_ids = with_context(image_ids[0], [&] { return read_image_ids(image_ids[0]); });
    return;
  }
  for (const std::string& id : image_ids) {
    target.image_ids.push_back(
        with_context("--image-ids", [&] { return OptionValue<int64_t>::parse(id); }));
  }
}

void EvalArguments::declare(Options& o) {
  o.section("Arguments");
  declare_model(o);
  evaluation.declare_data(o);
  o.section("Fidelity");
  o.add("against", &evaluation.options.against,
        "model to compare with: the one before quantization")
      .value_name("REFERENCE")
      .completes(Completion::kModels);
  o.add("images", &evaluation.options.images,
        "without labels: a folder of images, a text file with their names, or an image")
      .completes(Completion::kFiles);
  evaluation.declare_reference_score(o);
  o.section("Output");
  o.add("out", &out, "folder for metrics.json or fidelity.json, detections.json and tables")
      .is_required()
      .value_name("DIR")
      .completes(Completion::kFolders);
  o.section("Model");
  declare_wanted_head(o, &head);
  declare_size(o);
  declare_seed(o);
  evaluation.declare_detection(o);
  evaluation.declare_latency(o);
  o.section("Computation");
  declare_device(o, &device);
}

bool EvalArguments::without_labels() const {
  const pipeline::EvalOptions& options = evaluation.options;
  if (!options.images.empty() && !options.coco_root.empty()) {
    fail_usage("--images is for images without labels: give either that or --coco");
  }
  if (options.against.empty()) {
    if (!options.images.empty()) {
      fail_usage("--images needs a model to compare with (--against), or labels (--coco)");
    }
    if (options.coco_root.empty()) {
      fail_usage(
          "name the data set's folder (--coco), or a model to compare with and images "
          "(--against and --images)");
    }
    return false;
  }
  if (!options.coco_root.empty()) return false;
  if (options.images.empty()) fail_usage("--against needs images (--images) or labels (--coco)");
  if (!evaluation.image_ids.empty()) fail_usage("--image-ids are those of a data set (--coco)");
  return true;
}

Command eval_command(Runner<EvalArguments> runner) {
  CommandInfo info;
  info.name = "eval";
  info.program = Program::kImageEngine;
  info.summary = "score a model on a COCO-format data set, or against another model";
  info.details =
      "Scores a model on a COCO-format data set with ONNX Runtime: mAP with confidence intervals, "
      "a table of classes, detections, and latency. What is not ONNX is exported first.\n\n"
      "With --against, fidelity to another model: mAP with that model's confident detections as "
      "ground truth. It needs no labels: --images takes the place of --coco (and no latency is "
      "measured); with --coco it is given beside mAP, and so is the difference of mAP.";
  info.examples = {
      {"The first 50 images",
       "yoloquant eval yolov10n.onnx --coco coco --split val2017 --max-images 50 --out "
       "results"},
      {"What quantization changed, on images without labels",
       "yoloquant eval yolov10n_w8a8.onnx --against yolov10n.onnx --images photos --out results"}};
  return define<EvalArguments>(std::move(info), runner);
}

}  // namespace yoloquant::cli

#include "pipeline/evaluate.h"

#include <chrono>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "data/coco_dataset.h"
#include "eval/detections_json.h"
#include "pipeline/detector.h"
#include "pipeline/fidelity_reference.h"
#include "pipeline/metrics_files.h"

namespace yoloquant::pipeline {
namespace {

using Clock = std::chrono::steady_clock;

std::vector<int64_t> choose_image_ids(const data::CocoDataset& dataset,
                                      const EvalOptions& options) {
  if (options.max_images < 0) fail_usage("the number of images must not be negative");
  if (!options.image_ids.empty()) return dataset.checked_image_ids(options.image_ids);
  std::vector<int64_t> ids = dataset.first_image_ids(options.max_images);
  if (ids.empty()) fail("{}: the data set has no images", dataset.annotation_file().string());
  return ids;
}

ImageSet image_set(const data::CocoDataset& dataset, const std::vector<int64_t>& ids) {
  ImageSet images;
  images.ids = ids;
  images.categories.assign(dataset.categories().begin(), dataset.categories().end());
  for (const int64_t id : ids) {
    images.paths.push_back(
        dataset.image_path(dataset.images()[static_cast<size_t>(dataset.image_index(id))]));
  }
  return images;
}

void check_classes(int64_t model_classes, const data::CocoDataset& dataset) {
  const auto categories = static_cast<int64_t>(dataset.categories().size());
  if (model_classes != categories) {
    fail(
        "the model has {} classes, the data set {} categories: class i is taken for the i-th "
        "category by id, so the numbers must agree",
        model_classes, categories);
  }
}

}  // namespace

eval::BootstrapOptions bootstrap_options(const EvalOptions& options) {
  return {.resamples = options.bootstrap_resamples,
          .seed = options.bootstrap_seed,
          .threads = options.threads};
}

eval::CocoResult score_detections(const data::CocoDataset& dataset, const std::vector<int64_t>& ids,
                                  const std::filesystem::path& detections,
                                  const EvalOptions& options) {
  return eval::evaluate_coco(dataset, ids, eval::read_detections(detections),
                             {.threads = options.threads, .keep_matches = true});
}

EvalResult evaluate_model(const std::string& model, const std::filesystem::path& out,
                          const EvalOptions& options, Progress& progress) {
  if (options.coco_root.empty()) fail_usage("name the data set's folder (--coco)");
  const auto dataset = data::CocoDataset::open(options.coco_root, options.split);
  const std::vector<int64_t> ids = choose_image_ids(dataset, options);
  const ImageSet images = image_set(dataset, ids);
  const PreparedModel prepared = prepare_model(model, out, prepare_options(options), progress);
  Detector detector(prepared.onnx,
                    detector_options(options, static_cast<int64_t>(images.categories.size())));
  with_context(prepared.onnx.string(),
               [&] { check_classes(detector.kind().class_count, dataset); });
  std::optional<Reference> reference;
  if (!options.against.empty()) {
    reference = detect_reference(prepare_reference(prepared.onnx, out, options, progress), detector,
                                 images, out, options, progress);
  }

  EvalResult result;
  result.onnx_path = prepared.onnx;
  result.warnings = prepared.warnings;
  result.head = detector.kind().head;
  result.provider = detector.session().provider();
  result.fallback_reason = detector.session().fallback_reason();
  result.image_height = detector.image_height();
  result.image_width = detector.image_width();
  result.detections_path = out / "detections.json";
  const Clock::time_point start = Clock::now();
  detect_to_file(detector, images, result.detections_path, progress);
  result.inference_seconds = std::chrono::duration<double>(Clock::now() - start).count();
  // From the file, so that the figures are its figures for every other tool too.
  result.coco = score_detections(dataset, ids, result.detections_path, options);
  if (options.bootstrap_resamples > 0) {
    const eval::BootstrapOptions bootstrap = bootstrap_options(options);
    result.intervals = eval::bootstrap(result.coco.matches, bootstrap);
    if (reference) {
      const eval::CocoResult theirs =
          score_detections(dataset, ids, reference->detections, options);
      result.difference =
          eval::bootstrap_difference(theirs.matches, result.coco.matches, bootstrap);
    }
  }
  if (!options.skip_latency) {
    const Tensor input = detector.input_of(images.paths[0]);
    result.latency = runtime::measure_latency(detector.session(), options.warmup_runs,
                                              options.latency_runs, {input});
  }
  if (reference) {
    result.fidelity =
        compare_with_reference(*reference, detector, images, result.detections_path, out, options);
    result.warnings.insert(result.warnings.end(), result.fidelity->warnings.begin(),
                           result.fidelity->warnings.end());
  }
  write_metrics_files(result, options, dataset, ids, out);
  return result;
}

}  // namespace yoloquant::pipeline

#include "pipeline/fidelity.h"

#include <algorithm>
#include <map>
#include <numeric>

#include "base/error.h"
#include "data/image_list.h"
#include "eval/detections_json.h"
#include "pipeline/evaluate.h"
#include "pipeline/fidelity_files.h"
#include "pipeline/fidelity_reference.h"

namespace yoloquant::pipeline {
namespace {

namespace fs = std::filesystem;

data::ImageList choose_images(const EvalOptions& options) {
  if (options.images.empty()) fail_usage("name the images to compare on (--images)");
  if (options.max_images < 0) fail_usage("the number of images must not be negative");
  data::ImageList images;
  try {
    images = data::read_image_list(options.images);
  } catch (const Error& error) {
    fail_usage("{}", error.what());
  }
  if (options.max_images > 0 && static_cast<size_t>(options.max_images) < images.size()) {
    images.resize(static_cast<size_t>(options.max_images));
  }
  return images;
}

// The classes by the names of either file; "class7" where neither has one.
std::vector<data::CocoCategory> categories_of(int64_t count,
                                              const std::map<int, std::string>& names) {
  std::vector<std::string> texts;
  for (int i = 0; i < count; ++i) {
    const auto found = names.find(i);
    texts.push_back(found != names.end() ? found->second : fmt::format("class{}", i));
  }
  return eval::class_categories(texts);
}

// Classes of a file that does not say how many it has are the other file's.
int64_t common_class_count(const fs::path& model, const fs::path& reference,
                           const EvalOptions& options) {
  const int64_t count = output_kind(model, options.head).class_count;
  if (count > 0) return count;
  const int64_t other = output_kind(reference, options.head).class_count;
  if (other == 0) {
    fail_usage(
        "neither {} nor {} says how many classes it has: a file with names in its metadata "
        "is needed",
        model.string(), reference.string());
  }
  return other;
}

void check_same_classes(const Detector& model, const Detector& reference) {
  if (model.kind().class_count != reference.kind().class_count) {
    fail_usage("{} has {} classes, {} has {}: only models of the same classes can be compared",
               model.path().string(), model.kind().class_count, reference.path().string(),
               reference.kind().class_count);
  }
  for (const auto& [index, name] : model.names()) {
    const auto other = reference.names().find(index);
    if (other != reference.names().end() && other->second != name) {
      fail_usage(
          "class {} is '{}' in {}, '{}' in {}: only models of the same classes can be "
          "compared",
          index, name, model.path().string(), other->second, reference.path().string());
    }
  }
}

std::string nothing_seen(const Reference& reference, const EvalOptions& options) {
  return fmt::format(
      "{} detects nothing with a score of {} or more in these images, so there is nothing to be "
      "compared with: take other images or a lower --reference-score",
      reference.onnx.string(), options.reference_score);
}

bool sees_something(const Reference& reference, const EvalOptions& options) {
  return std::ranges::any_of(eval::read_detections(reference.detections),
                             [&](const eval::CocoDetection& detection) {
                               return detection.score >= options.reference_score;
                             });
}

}  // namespace

const fs::path& FidelityResult::image(int64_t id) const {
  const auto found = std::ranges::lower_bound(image_ids, id);
  if (found == image_ids.end() || *found != id) fail("no image with id {}", id);
  return images[static_cast<size_t>(found - image_ids.begin())];
}

PreparedModel prepare_reference(const fs::path& model, const fs::path& out,
                                const EvalOptions& options, Progress& progress) {
  PrepareOptions prepare = prepare_options(options);
  prepare.head = output_kind(model, options.head).head;
  return prepare_model(options.against, out / "reference", prepare, progress);
}

Reference detect_reference(const PreparedModel& prepared, const Detector& model,
                           const ImageSet& images, const fs::path& out, const EvalOptions& options,
                           Progress& progress) {
  Detector detector(prepared.onnx, detector_options(options, model.kind().class_count));
  check_same_classes(model, detector);
  Reference reference{prepared.onnx, detector.kind().head, out / "reference_detections.json",
                      prepared.warnings};
  detect_to_file(detector, images, reference.detections, progress, "detecting, reference");
  return reference;
}

FidelityResult compare_with_reference(const Reference& reference, const Detector& model,
                                      const ImageSet& images, const fs::path& detections,
                                      const fs::path& out, const EvalOptions& options) {
  FidelityResult result;
  result.onnx_path = model.path();
  result.reference_path = reference.onnx;
  result.head = model.kind().head;
  result.reference_head = reference.head;
  result.provider = model.session().provider();
  result.image_height = model.image_height();
  result.image_width = model.image_width();
  result.images = images.paths;
  result.image_ids = images.ids;
  result.warnings = reference.warnings;
  result.detections_path = detections;
  result.reference_detections_path = reference.detections;
  result.fidelity = eval::measure_fidelity(eval::read_detections(reference.detections),
                                           eval::read_detections(detections), images.categories,
                                           images.ids, fidelity_options(options));
  if (result.fidelity.figures.reference_boxes == 0) {
    result.warnings.push_back("fidelity is not defined: " + nothing_seen(reference, options));
  }
  write_fidelity_files(result, options, out);
  return result;
}

eval::FidelityOptions fidelity_options(const EvalOptions& options) {
  return {.reference_score = options.reference_score,
          .resamples = options.bootstrap_resamples,
          .seed = options.bootstrap_seed,
          .threads = options.threads};
}

FidelityResult evaluate_fidelity(const std::string& model, const fs::path& out,
                                 const EvalOptions& options, Progress& progress) {
  if (options.against.empty()) fail_usage("name the model to compare with (--against)");
  ImageSet images;
  images.paths = choose_images(options);
  images.ids.resize(images.paths.size());
  std::iota(images.ids.begin(), images.ids.end(), 0);
  const PreparedModel prepared = prepare_model(model, out, prepare_options(options), progress);
  const PreparedModel against = prepare_reference(prepared.onnx, out, options, progress);
  Detector detector(
      prepared.onnx,
      detector_options(options, common_class_count(prepared.onnx, against.onnx, options)));
  images.categories = categories_of(detector.kind().class_count, detector.names());
  Reference reference = detect_reference(against, detector, images, out, options, progress);
  if (!sees_something(reference, options)) fail("{}", nothing_seen(reference, options));
  const fs::path detections = out / "detections.json";
  detect_to_file(detector, images, detections, progress);
  reference.warnings.insert(reference.warnings.begin(), prepared.warnings.begin(),
                            prepared.warnings.end());
  return compare_with_reference(reference, detector, images, detections, out, options);
}

}  // namespace yoloquant::pipeline

#include "pipeline/demo.h"

#include "base/error.h"
#include "base/parallel.h"
#include "data/shapes.h"

namespace yoloquant::pipeline {
namespace {

namespace fs = std::filesystem;

constexpr const char* kDefaultModel = "yolov10n.yaml";
constexpr int64_t kDefaultSize = 320;  // pixels
constexpr int kTrainImages = 32;

// The synthetic set lies beside the model files, so that the run's folder holds all of it.
fs::path make_data(const fs::path& root, const DemoOptions& options) {
  const fs::path folder = root / "data";
  data::ShapesOptions shapes;
  shapes.train_images = std::max<int>(kTrainImages, static_cast<int>(options.calib_images));
  shapes.val_images = static_cast<int>(options.max_images);
  shapes.seed = options.seed;
  data::write_shapes(folder, shapes, options.threads > 0 ? options.threads : default_threads());
  return folder;
}

}  // namespace

RunResult run_demo(const DemoOptions& options, Progress& progress) {
  if (options.max_images < 1 || options.calib_images < 1) {
    fail_usage("the demo needs at least one image to evaluate and one to calibrate with");
  }
  if (options.model.empty() && !options.data.empty()) {
    fail_usage("data of your own needs a model of your own (--model)");
  }
  RunOptions run;
  run.name = "demo";
  run.root = options.out.empty() ? default_run_root(fs::current_path(), run.name) : options.out;
  // Shown again and again in one place: what has not changed is not computed again.
  run.resume = options.resume || fs::exists(run.root / "journal.jsonl");
  run.model = options.model.empty() ? kDefaultModel : options.model;
  const bool own_data = !options.data.empty();
  run.eval.coco_root = own_data ? options.data : make_data(run.root, options);
  run.load.image_height = options.image_size;
  if (options.model.empty()) {
    run.load.class_count = static_cast<int64_t>(data::shape_names().size());
    if (options.image_size == 0) run.load.image_height = kDefaultSize;
  }
  run.load.image_width = run.load.image_height;
  run.schemes = options.schemes;
  run.quantize.calibration.images = options.calib_images;
  run.quantize.calibration.seed = options.seed;
  run.quantize.threads = run.eval.threads = options.threads;
  run.eval.max_images = options.max_images;
  run.eval.warmup_runs = 3;
  run.eval.latency_runs = 20;
  return run_pipeline(run, progress);
}

}  // namespace yoloquant::pipeline

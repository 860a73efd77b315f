#include "pipeline/demo.h"

#include <algorithm>

#include "base/error.h"
#include "base/file.h"
#include "base/parallel.h"
#include "data/coco_dataset.h"
#include "data/shapes.h"
#include "exec/executor.h"
#include "pipeline/demo_model.h"
#include "pipeline/short_training.h"

namespace yoloquant::pipeline {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kDefaultSize = 320;  // pixels
constexpr int64_t kDefaultEpochs = 2;
constexpr int64_t kPictures = 6;
constexpr const char* kReference = "_reference";

// Model and images lie beside the results, so that the run's folder holds all of it.
std::string write_model(const fs::path& root) {
  const fs::path path = root / "shapes.pt";
  if (!fs::exists(path) || read_file(path) != demo_model()) write_file(path, demo_model());
  return path.string();
}

fs::path write_images(const fs::path& root, const DemoOptions& options) {
  const fs::path folder = root / "data";
  data::ShapesOptions shapes;
  shapes.train_images = static_cast<int>(std::max(options.qat_images, options.calib_images));
  shapes.val_images = static_cast<int>(options.max_images);
  shapes.seed = options.seed;
  data::write_shapes(folder, shapes, options.threads > 0 ? options.threads : default_threads());
  return folder;
}

// All schemes by methods that take seconds; of the last, the reference's way before that.
std::vector<RunVariant> demo_variants(const std::vector<std::string>& schemes) {
  quant::QuantizationConfig reference;
  reference.preset = quant::Preset::kReference;
  std::vector<RunVariant> variants = scheme_variants(schemes);
  for (RunVariant& variant : variants) {
    if (variant.config.scheme.weight_bits < 7) variant.config.method = "gptq";
    variant.trainable = false;
  }
  variants.back().trainable = true;
  variants.insert(variants.end() - 1,
                  scheme_variants({variants.back().name}, reference, kReference).front());
  return variants;
}

double training_fraction(const fs::path& coco, const TrainDataOptions& data, int64_t images) {
  const auto dataset = data::CocoDataset::open(coco, data.train_split);
  const auto count = static_cast<double>(std::max<size_t>(dataset.images().size(), 1));
  return std::min(1.0, static_cast<double>(images) / count);
}

void set_training(const DemoOptions& options, RunOptions& run) {
  const int64_t epochs = options.qat_epochs.value_or(options.model.empty() ? kDefaultEpochs : 0);
  if (epochs == 0) return;
  run.qat.when = QatWhen::kOn;
  run.qat.events = options.events;
  TrainOptions& train = run.qat.train;
  train.qat.emplace();
  set_short_training(train, *train.qat);
  train.qat->gap_period = 0;
  train.trainer.schedule.epochs = epochs;
  train.data.coco = run.eval.coco_root;
  train.data.fraction = training_fraction(train.data.coco, train.data, options.qat_images);
  train.data.val_images = options.max_images;
  train.seed = train.data.seed = options.seed;
  train.trainer.device = exec::resolve_device(run.quantize.device);
  train.threads = options.threads;
  train.workers = 1;
}

void check(const DemoOptions& options) {
  if (options.max_images < 1 || options.calib_images < 1 || options.qat_images < 1) {
    fail_usage("the demo needs at least one image to evaluate, to calibrate with and to train on");
  }
  if (options.model.empty() && !options.data.empty()) {
    fail_usage("data of your own needs a model of your own (--model)");
  }
  if (options.schemes.empty()) fail_usage("--schemes is empty");
}

}  // namespace

RunResult run_demo(const DemoOptions& options, Progress& progress) {
  check(options);
  RunOptions run;
  run.name = "demo";
  run.variants = demo_variants(options.schemes);
  const std::string shown = run.variants.back().name;
  run.root = options.out.empty() ? default_run_root(fs::current_path(), run.name) : options.out;
  // Shown again and again in one place: what has not changed is not computed again.
  run.resume = options.resume || fs::exists(run.root / "journal.jsonl");
  const bool own_model = !options.model.empty();
  run.model = own_model ? options.model : write_model(run.root);
  run.eval.coco_root = options.data.empty() ? write_images(run.root, options) : options.data;
  run.load.image_height = options.image_size;
  if (!own_model && options.image_size == 0) run.load.image_height = kDefaultSize;
  run.load.image_width = run.load.image_height;
  run.quantize.layout = onnx::Layout::kInt4;
  run.quantize.calibration.images = options.calib_images;
  run.quantize.calibration.seed = options.seed;
  run.quantize.threads = run.eval.threads = options.threads;
  run.eval.max_images = options.max_images;
  run.eval.warmup_runs = 3;
  run.eval.latency_runs = 20;
  run.pictures.images = kPictures;
  run.pictures.variants = {shown + kReference, shown + "_qat"};
  set_training(options, run);
  if (run.qat.when == QatWhen::kOff) run.pictures.variants.back() = shown;
  return run_pipeline(run, progress);
}

}  // namespace yoloquant::pipeline

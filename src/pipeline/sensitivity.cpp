#include "pipeline/sensitivity.h"

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "base/parallel.h"
#include "exec/executor.h"
#include "pipeline/inference_graph.h"
#include "pipeline/variant_detections.h"
#include "quant/image_calibration_data.h"
#include "quant/quantize.h"

namespace yoloquant::pipeline {
namespace {

using graph::Head;
using quant::Part;
using quant::Variant;
using Clock = std::chrono::steady_clock;

bool from_float(const SensitivityOptions& options) { return options.config.method == "nearest"; }

void check_options(const SensitivityOptions& options) {
  options.budget.check();
  if (options.bits.empty()) fail_usage("name the bits to measure (--bits 4,6,8)");
  for (const int bits : options.bits) {
    if (!quant::valid_weight_bits(bits)) {
      fail_usage("--bits {}: {} to {} are supported", bits, quant::kMinWeightBits,
                 quant::kMaxWeightBits);
    }
  }
  if (options.images < 0 || options.max_images < 0) {
    fail_usage("the number of images is negative");
  }
  if (options.calibration.source.empty() && options.calibration.coco_root.empty()) {
    fail_usage("sensitivity needs images: name a list file or a folder (--calib)");
  }
  if (options.rounding != quant::Rounding::kNearest && !from_float(options)) {
    fail_usage("--rounding is of layers that are quantized by themselves, without --method");
  }
  if (options.config.preset != quant::Preset::kNone) {
    fail_usage("sensitivity measures no preset");
  }
}

// One job: the model, its images and what is measured.
class Measurement {
 public:
  Measurement(const LoadedModel& model, const SensitivityOptions& options, Progress& progress)
      : model_(model),
        options_(options),
        progress_(progress),
        head_(quantized_head(model, options.head)),
        inference_(inference_graph(model, head_, branches_of(options.layout),
                                   {1, options.image_height, options.image_width})),
        watched_(quant::watched_values(inference_)),
        list_(choose_calibration_images(options.calibration)),
        images_(list_, loader()) {}

  report::SensitivityReport run() {
    const Clock::time_point start = Clock::now();
    prepare();
    describe();
    measure();
    if (!options_.coco_root.empty()) measure_labelled();
    report_.seconds = std::chrono::duration<double>(Clock::now() - start).count();
    return report_;
  }

  MixedPrecision choose() const {
    std::vector<MeasuredBits> measured;
    for (size_t i = 0; i < variants_.size(); ++i) {
      const Variant& variant = variants_[i];
      if (variant.block || variant.part != Part::kWeights || variant.bits == 0) continue;
      measured.push_back({&variant, harm_of(i)});
    }
    return choose_bits(inference_, options_.config, measured, options_.budget);
  }

 private:
  data::LoaderOptions loader() const {
    const Shape& shape = inference_.values.at(static_cast<size_t>(inference_.inputs.at(0))).shape;
    return {.input_width = static_cast<int>(shape[3]),
            .input_height = static_cast<int>(shape[2]),
            .threads = options_.threads};
  }

  void prepare() {
    quant::CalibrationOptions calibration;
    calibration.device = options_.device;
    if (from_float(options_)) {
      quant::VariantOptions wanted{.weight_bits = options_.bits,
                                   .activation_bits = {},
                                   .blocks = options_.blocks,
                                   .calibration = calibration,
                                   .seed = options_.seed,
                                   .rounding = options_.rounding};
      if (options_.activations) {
        std::ranges::copy_if(options_.bits, std::back_inserter(wanted.activation_bits),
                             [](int bits) { return bits >= quant::kMinActivationBits; });
      }
      variants_ = quant::float_variants(inference_, options_.config, images_, wanted, progress_);
      return;
    }
    quant::QuantizeOptions quantize;
    quantize.calibration = calibration;
    quantize.effort = options_.effort;
    quantize.seconds = options_.seconds;
    quantize.seed = options_.seed;
    base_ = quant::quantize(inference_, options_.config, images_, quantize, progress_).graph;
    std::vector<int> more;
    std::ranges::copy_if(options_.bits, std::back_inserter(more),
                         [&](int bits) { return bits > options_.config.scheme.weight_bits; });
    variants_ = quant::raising_variants(inference_, options_.config, more);
    add_base_bits();
  }

  // Where a budget is to be kept, staying at the base's bits is a choice too: nothing changes.
  void add_base_bits() {
    std::vector<Variant> all;
    for (const Variant& variant : variants_) {
      if (variant.bits == 0) {
        Variant same = variant;
        same.bits = options_.config.scheme.weight_bits;
        same.parameters.clear();
        for (auto& [conv, quantization] : same.changes) quantization = base_->quantization.at(conv);
        all.push_back(std::move(same));
      }
      all.push_back(variant);
    }
    variants_ = std::move(all);
  }

  void describe() {
    report_.model = model_.name;
    report_.head = graph::head_name(head_);
    const data::LoaderOptions size = loader();
    report_.image_size = fmt::format("{} x {}", size.input_height, size.input_width);
    report_.rounding = quant::rounding_name(options_.rounding);
    if (!from_float(options_)) {
      report_.base = quant::scheme_name(options_.config.scheme) + " " + options_.config.method;
    }
    report_.images =
        options_.images > 0 ? std::min(options_.images, images_.size()) : images_.size();
    const bool reads_images =
        !from_float(options_) || options_.rounding != quant::Rounding::kNearest ||
        std::ranges::any_of(variants_,
                            [](const Variant& v) { return v.part == Part::kActivations; });
    if (reads_images) report_.calibration_images = images_.size();
    report_.detection = watched_.detection;
    report_.error_names = watched_.names;
    for (const Variant& variant : variants_) {
      report::SensitivityRow& row = report_.rows.emplace_back();
      row.name = variant.name;
      row.block = variant.block;
      row.part = quant::part_name(variant.part);
      row.bits = variant.bits;
      row.weights = variant.weights;
    }
  }

  const graph::Graph& base() const { return base_ ? *base_ : inference_; }

  void measure() {
    std::optional<VariantDetections> found;
    if (options_.fidelity && watched_.detection) found = detections();
    result_ = quant::replay(inference_, base(), variants_, images_,
                            {.device = options_.device, .images = options_.images},
                            on_output(found), progress_);
    for (size_t i = 0; i < variants_.size(); ++i) {
      report::SensitivityRow& row = report_.rows[i];
      const quant::OutputHarm& harm = result_.variants[i];
      row.harm = harm.harm();
      row.box_harm = harm.box_harm();
      row.class_harm = harm.class_harm();
      row.errors = harm.relative_errors();
      if (base_) row.gain = result_.base.harm() - harm.harm();
    }
    if (base_) report_.base_harm = result_.base.harm();
    if (!found) return;
    score([&](size_t i) { report_.rows[i].fidelity = found->fidelity(i); });
  }

  void measure_labelled() {
    if (!watched_.detection) fail_usage("mAP needs a detection model; leave out --coco");
    const auto dataset = data::CocoDataset::open(options_.coco_root, options_.split);
    const std::vector<int64_t> ids = dataset.first_image_ids(options_.max_images);
    if (ids.empty()) fail("{}: the data set has no images", dataset.annotation_file().string());
    data::ImageList paths;
    for (const int64_t id : ids) {
      const data::CocoImage& image = dataset.images()[static_cast<size_t>(dataset.image_index(id))];
      paths.push_back(dataset.image_path(image));
    }
    const data::LoaderOptions size = loader();
    quant::ImageCalibrationData labelled(paths, size);
    std::optional<VariantDetections> found = detections();
    quant::replay(inference_, base(), variants_, labelled, {.device = options_.device},
                  on_output(found), progress_);
    const auto map = [&](int64_t variant) {
      return found->map(variant, dataset, ids, size.input_width, size.input_height);
    };
    report_.labelled_images = static_cast<int64_t>(ids.size());
    report_.float_map = map(-1);
    score([&](size_t i) { report_.rows[i].map = map(static_cast<int64_t>(i)); });
  }

  VariantDetections detections() const {
    return {head_, model_.class_count(), variants_.size() + (base_ ? 1 : 0)};
  }

  static quant::OnOutput on_output(std::optional<VariantDetections>& found) {
    if (!found) return nullptr;
    return [&found](int64_t image, int64_t variant, const Tensor& output) {
      found->add(image, variant, output);
    };
  }

  void score(const std::function<void(size_t)>& body) const {
    parallel_for(variants_.size(), options_.threads, body);
  }

  // For the choice of bits. Where all is quantized already, a layer's share of the harm is what its
  // float weights would take away.
  double harm_of(size_t i) const {
    if (!base_) return result_.variants[i].harm();
    for (size_t k = 0; k < variants_.size(); ++k) {
      if (variants_[k].name == variants_[i].name && variants_[k].bits == 0) {
        return result_.variants[i].harm() - result_.variants[k].harm();
      }
    }
    return 0;
  }

  const LoadedModel& model_;
  const SensitivityOptions& options_;
  Progress& progress_;
  Head head_;
  graph::Graph inference_;
  quant::WatchedValues watched_;
  data::ImageList list_;
  quant::ImageCalibrationData images_;
  std::optional<graph::Graph> base_;
  std::vector<Variant> variants_;
  quant::ReplayResult result_;
  report::SensitivityReport report_;
};

}  // namespace

SensitivityResult measure_sensitivity(const LoadedModel& model, const std::filesystem::path& out,
                                      const SensitivityOptions& options, Progress& progress) {
  check_options(options);
  exec::set_threads(options.threads);
  Measurement measurement(model, options, progress);
  SensitivityResult result;
  result.report = measurement.run();
  if (options.budget.given()) result.mixed = measurement.choose();

  const auto write = [&](const char* name, const std::string& text) {
    write_file(out / name, text);
    result.files.push_back(out / name);
  };
  write("sensitivity.json", report::sensitivity_json(result.report).dump(2) + "\n");
  write("sensitivity.csv", report::sensitivity_csv(result.report));
  write("sensitivity.md", report::sensitivity_markdown(result.report));
  write("sensitivity.svg", report::sensitivity_svg(result.report));
  if (result.mixed) {
    const MixedPrecision& mixed = *result.mixed;
    write("mixed.yaml", quant::config_yaml(with_bits(options.config, mixed)));
    write("mixed.json", mixed_json(mixed).dump(2) + "\n");
    write("mixed.svg",
          report::bit_allocation_svg(
              {model.name + ": predicted harm of the best bits by layer",
               mixed.best,
               mixed.uniform,
               {mixed.mean_bits, mixed.harm, fmt::format("chosen: {:.2f}", mixed.mean_bits)}}));
  }
  return result;
}

}  // namespace yoloquant::pipeline

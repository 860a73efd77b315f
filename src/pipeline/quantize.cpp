#include "pipeline/quantize.h"

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "base/random.h"
#include "data/letterbox.h"
#include "exec/executor.h"
#include "model/model.h"
#include "pipeline/inference_graph.h"
#include "pipeline/verify.h"
#include "pipeline/write_checked.h"
#include "pipeline/write_quantized.h"
#include "quant/annotation_file.h"
#include "quant/image_calibration_data.h"
#include "quant/integer_graph.h"
#include "quant/method.h"
#include "quant/quantize.h"

namespace yoloquant::pipeline {
namespace {

using graph::Head;
using Clock = std::chrono::steady_clock;

const Shape& input_shape(const graph::Graph& graph) {
  return graph.values.at(static_cast<size_t>(graph.inputs.at(0))).shape;
}

// Anything but plain rounding may look at images.
bool needs_images(const quant::QuantizationConfig& config) {
  return config.scheme.quantizes_activations() ||
         (config.method != "nearest" && config.method != "auto");
}

bool has_source(const CalibrationListOptions& options) {
  return !options.source.empty() || !options.coco_root.empty();
}

quant::QuantizeOptions quant_options(const QuantizeOptions& options) {
  quant::QuantizeOptions result;
  result.calibration.batch = options.batch;
  result.calibration.device = options.device;
  result.effort = options.effort;
  result.seconds = options.seconds;
  result.seed = options.seed;
  result.branches = branches_of(options.layout);
  return result;
}

data::LoaderOptions loader_options(const graph::Graph& graph, int threads) {
  const Shape& shape = input_shape(graph);
  return {.input_width = static_cast<int>(shape[3]),
          .input_height = static_cast<int>(shape[2]),
          .threads = threads};
}

// The first images of the calibration set, or a made-up one where there is none.
std::vector<Tensor> verification_images(const data::ImageList& images, const graph::Graph& graph,
                                        int64_t count, QuantizeResult& result) {
  const Shape& shape = input_shape(graph);
  std::vector<Tensor> tensors;
  for (size_t i = 0; i < images.size() && i < static_cast<size_t>(count); ++i) {
    Tensor tensor(DType::kFloat32, shape);
    data::letterbox(data::read_image(images[i]), static_cast<int>(shape[3]),
                    static_cast<int>(shape[2]), tensor.mutable_data<float>());
    tensors.push_back(std::move(tensor));
  }
  if (tensors.empty()) {
    result.warnings.push_back("compared with the simulator on noise, as there are no images");
    tensors.push_back(model::formula_tensor("images", shape));
  }
  return tensors;
}

// Tells apart runs whose methods would not do the same.
std::string fingerprint(const graph::Graph& reference, const QuantizeOptions& options,
                        const data::ImageList& list) {
  const BitBudget& bits = options.bit_budget;
  std::string text =
      fmt::format("{}\n{}\n{}\n{}\n{} {} {} {}\n", quant::config_yaml(options.config),
                  quant::effort_name(options.effort), options.seed,
                  tuned_heads_name(options.tuned_heads), bits.mean_bits.value_or(-1),
                  bits.bytes.value_or(-1), bits.max_harm.value_or(-1), options.sensitivity_images);
  for (const auto& image : list) text += image.string() + "\n";
  for (const auto& [name, value] : reference.parameters) {
    const std::span<const std::byte> bytes = value.bytes();
    const std::string_view view(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    text += fmt::format("{} {:016x}\n", name, fnv1a64(view));
  }
  return fmt::format("{:016x}", fnv1a64(text));
}

// What methods work on. `exported`: the graph of the head that is written.
graph::Graph tuned_graph(const LoadedModel& model, const graph::Graph& exported,
                         const QuantizeOptions& options) {
  if (options.tuned_heads == TunedHeads::kExported) return exported;
  return inference_graph(model, Head::kBoth, branches_of(options.layout),
                         {1, options.image_height, options.image_width});
}

// Of a model quantized with both heads, the head that is written.
void keep_exported(quant::QuantizationResult& quantized, Head head) {
  quantized.graph = graph::keep_head(quantized.graph, head);
  std::erase_if(quantized.layers, [&](const quant::LayerReport& layer) {
    return !quantized.graph.quantization.contains(layer.conv);
  });
}

// What an interrupted run has left.
struct Records {
  quant::MethodState* methods = nullptr;
  HarmRecord harms;
};

quant::QuantizationResult quantize_graph(const LoadedModel& model, const graph::Graph& reference,
                                         const QuantizeOptions& options,
                                         quant::CalibrationData& images, const Records& records,
                                         QuantizeResult& result, Progress& progress) {
  if (options.config.preset == quant::Preset::kNone) {
    const quant::Budget clock(options.effort, options.seconds);
    quant::QuantizationConfig config = options.config;
    if (options.bit_budget.given()) {
      result.mixed = measure_and_choose_bits(
          reference, config, images,
          {.budget = options.bit_budget,
           .replay = {.device = options.device, .images = options.sensitivity_images},
           .seed = options.seed,
           .record = records.harms},
          progress);
      config = with_bits(config, *result.mixed);
    }
    quant::QuantizeOptions settings = quant_options(options);
    settings.seconds = std::max(clock.seconds_left(), 0.0);
    settings.state = records.methods;
    quant::QuantizationResult quantized =
        quant::quantize(tuned_graph(model, reference, options), config, images, settings, progress);
    if (!options.annotations.empty()) {
      quant::write_annotations(options.annotations, quantized.graph);
    }
    if (options.tuned_heads == TunedHeads::kBoth) {
      keep_exported(quantized, quantized_head(model, options.head));
    }
    return quantized;
  }
  // The reference preset looks at the weights before batch norms are folded.
  graph::Graph whole = model.graph;
  set_shape(whole, {1, options.image_height, options.image_width});
  const Head head = has_final_rows(model) ? Head::kBoth : quantized_head(model, options.head);
  return quant::quantize_model(whole, head, options.config, images, quant_options(options),
                               progress);
}

void check_options(const QuantizeOptions& options) {
  if (options.batch < 1) fail_usage("the calibration batch must be at least 1");
  if (options.verify_images < 0) fail_usage("the number of verification images is negative");
  options.bit_budget.check();
  if (options.sensitivity_images < 0) fail_usage("the number of images is negative");
  if (options.bit_budget.given() && options.config.preset != quant::Preset::kNone) {
    fail_usage("the reference preset takes no layer rules");
  }
  if (options.bit_budget.given() && !has_source(options.calibration)) {
    fail_usage("bits by layer are chosen on images: name a list file or a folder (--calib)");
  }
  if (options.tuned_heads == TunedHeads::kBoth && options.config.preset != quant::Preset::kNone) {
    fail_usage("the reference preset takes no heads to tune");
  }
  check_layout(options);
  if (needs_images(options.config) && !has_source(options.calibration)) {
    fail_usage("{} {} needs images: name a list file or a folder (--calib)",
               quant::scheme_name(options.config.scheme), options.config.method);
  }
}

// `options` with the method that "auto" stands for.
QuantizeOptions with_method(QuantizeOptions options, QuantizeResult& result) {
  std::string& method = options.config.method;
  if (options.config.preset != quant::Preset::kNone) {
    method = quant::preset_name(options.config.preset);
    return options;
  }
  const std::string wanted = quant::resolve_method(options.config, options.effort);
  if (method == "auto" && wanted != "nearest" && !has_source(options.calibration)) {
    result.warnings.push_back(
        "weights of few bits are rounded to nearest, which costs most of the accuracy, as there "
        "are no calibration images (--calib) to do better");
    method = "nearest";
    return options;
  }
  method = wanted;
  return options;
}

nlohmann::ordered_json difference_json(const OutputDifference& d) {
  return {{"max_box_pixels", d.max_box_pixels}, {"mean_box_pixels", d.mean_box_pixels},
          {"max_score", d.max_score},           {"mean_score", d.mean_score},
          {"relative_box", d.relative_box},     {"relative_score", d.relative_score}};
}

nlohmann::ordered_json layer_json(const quant::LayerReport& layer) {
  nlohmann::ordered_json json{{"conv", layer.conv},           {"weights", layer.weights},
                              {"bits", layer.bits},           {"scale_min", layer.scale_min},
                              {"scale_max", layer.scale_max}, {"sqnr_db", nullptr},
                              {"lossless", layer.lossless}};
  if (!layer.lossless) json["sqnr_db"] = layer.sqnr_db;
  if (layer.input) {
    json["input"] = {{"bits", layer.input->bits},
                     {"min", layer.input->min},
                     {"max", layer.input->max},
                     {"low", layer.input->low},
                     {"high", layer.input->high},
                     {"scale", layer.input->scale},
                     {"zero_point", layer.input->zero_point}};
  }
  return json;
}

}  // namespace

TunedHeads parse_tuned_heads(std::string_view name) {
  for (const TunedHeads heads : {TunedHeads::kExported, TunedHeads::kBoth}) {
    if (name == tuned_heads_name(heads)) return heads;
  }
  fail_usage("unknown heads to tune '{}': exported or both", name);
}

std::string_view tuned_heads_name(TunedHeads heads) {
  return heads == TunedHeads::kBoth ? "both" : "exported";
}

void check_layout(const QuantizeOptions& options) {
  if (options.layout != onnx::Layout::kDeploy) return;
  if (options.config.scheme.activation_bits != 8) {
    fail_usage("layout deploy is for 8-bit activations, not {}",
               quant::scheme_name(options.config.scheme));
  }
  if (options.precision != onnx::Precision::kFloat32) {
    fail_usage("layout deploy keeps float32 beside its integers: use --precision fp32");
  }
}

QuantizeResult quantize_onnx(const LoadedModel& model, const std::filesystem::path& out,
                             const QuantizeOptions& given, Progress& progress) {
  check_options(given);
  QuantizeResult result;
  const QuantizeOptions options = with_method(given, result);
  exec::set_threads(options.threads);
  result.method = options.config.method;
  result.scheme = quant::scheme_name(options.config.scheme);
  data::ImageList list;
  if (has_source(options.calibration)) list = choose_calibration_images(options.calibration);

  const graph::Graph reference =
      inference_graph(model, quantized_head(model, options.head), branches_of(options.layout),
                      {1, options.image_height, options.image_width});
  quant::ImageCalibrationData images(list, loader_options(reference, options.threads));
  std::filesystem::path state_path = out;
  state_path += ".state";
  const std::string run = fingerprint(reference, options, list);
  quant::MethodState state(state_path, run);
  const HarmRecord harms(std::filesystem::path(out) += ".harms", run);
  if (!options.resume) {
    state.remove();
    harms.remove();
  }
  const Clock::time_point start = Clock::now();
  quant::QuantizationResult quantized =
      quantize_graph(model, reference, options, images, {&state, harms}, result, progress);
  if (options.layout == onnx::Layout::kDeploy) {
    quantized.graph = quant::integer_graph(
        quantized.graph, options.config, images,
        {.calibration = quant_options(options).calibration, .seed = options.seed}, progress);
  }
  result.seconds = std::chrono::duration<double>(Clock::now() - start).count();
  result.layers = std::move(quantized.layers);
  if (needs_images(options.config)) result.calibration_images = images.size();
  write_quantized({.annotated = quantized.graph, .reference = reference},
                  options.head == Head::kEndToEnd && !has_final_rows(model), out, options, list,
                  result, progress);
  state.remove();
  harms.remove();
  progress.finish();
  return result;
}

void write_quantized(const QuantizedGraphs& graphs, bool add_selection,
                     const std::filesystem::path& out, const QuantizeOptions& options,
                     const data::ImageList& list, QuantizeResult& result, Progress& progress) {
  const onnx::WriteOptions write_options{
      .precision = options.precision,
      .opset = std::max(options.opset, onnx::least_opset(options.layout)),
      .dynamic = options.dynamic,
      .layout = options.layout};
  AtomicFile file(out);
  result.check = write_checked(graphs.annotated, file.temporary_path(), write_options);
  if (options.verify_images > 0) {
    progress.start("comparing with ONNX Runtime", 1);
    const bool float16 = options.precision == onnx::Precision::kFloat16;
    result.verification = with_context(out.string(), [&] {
      return verify_quantized(
          graphs.annotated, graphs.reference, file.temporary_path(),
          verification_images(list, graphs.reference, options.verify_images, result),
          {.device = options.device, .threads = options.threads, .float16 = float16});
    });
    progress.update(1);
  }
  if (add_selection) {
    // What was compared is everything up to the selection, whose rows may swap on ties.
    result.check = write_checked(graph::keep_head(graphs.annotated, Head::kEndToEnd),
                                 file.temporary_path(), write_options);
  }
  file.commit();
  result.path = out;
}

nlohmann::ordered_json layers_json(const std::vector<quant::LayerReport>& layers) {
  auto list = nlohmann::ordered_json::array();
  for (const quant::LayerReport& layer : layers) list.push_back(layer_json(layer));
  return list;
}

nlohmann::ordered_json verification_json(const Verification& v) {
  return {{"images", v.images},
          {"provider", v.provider},
          {"convs", v.convs},
          {"worst_conv", v.worst_conv},
          {"worst_conv_name", v.worst_conv_name},
          {"optimized", difference_json(v.optimized)},
          {"unoptimized", difference_json(v.unoptimized)},
          {"quantization", difference_json(v.quantization)},
          {"bound",
           {{"worst_conv", v.bound_conv},
            {"relative_box", v.bound_box},
            {"relative_score", v.bound_score}}}};
}

}  // namespace yoloquant::pipeline

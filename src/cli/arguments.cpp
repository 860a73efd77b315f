#include "cli/arguments.h"

#include <algorithm>

#include "base/error.h"
#include "base/text.h"
#include "model/definition.h"

namespace yoloquant::cli {

namespace {

constexpr int64_t kMaxPixels = 8192;

const std::vector<std::string>& head_names() {
  static const std::vector<std::string> names = {"one2many", "one2one", "end2end"};
  return names;
}

}  // namespace

ImageSize OptionValue<ImageSize>::parse(const std::string& text) {
  const std::vector<std::string> parts = split(lower(text), 'x');
  if (parts.size() > 2) fail_usage("\"{}\" is no image size such as 640 or 480x640", text);
  const int64_t height = parse_integer(parts.front(), 32, kMaxPixels);
  const int64_t width = parse_integer(parts.back(), 32, kMaxPixels);
  if (height % 32 != 0 || width % 32 != 0) {
    fail_usage("{}: height and width must be multiples of 32", text);
  }
  return {height, width};
}

std::string OptionValue<ImageSize>::print(const ImageSize& size) {
  return size.height == size.width ? std::to_string(size.height)
                                   : fmt::format("{}x{}", size.height, size.width);
}

Device OptionValue<Device>::parse(const std::string& text) {
  Device device;
  device.text = lower(text);
  const size_t colon = device.text.find(':');
  const std::string name = device.text.substr(0, colon);
  device.provider = runtime::parse_provider(name);
  if (colon == std::string::npos) return device;
  if (name != "cuda" && name != "tensorrt") fail_usage("{} has no device number", name);
  device.index = static_cast<int>(parse_integer(device.text.substr(colon + 1), 0, 1023));
  return device;
}

std::string Device::executor_name() const {
  return provider == runtime::Provider::kTensorRt ? fmt::format("cuda:{}", index) : text;
}

void ModelArguments::check_model() const {
  if (std::filesystem::exists(model)) return;
  const std::vector<std::string> builtin = model::builtin_definitions();
  if (std::find(builtin.begin(), builtin.end(), model) != builtin.end()) return;
  const std::string near = closest_match(model, builtin);
  fail("{}: no such file, and no built-in definition{}", model,
       near.empty() ? " (those are yolov10n.yaml, and s, m, b, l, x alike)"
                    : fmt::format("; did you mean {}?", near));
}

void ModelArguments::declare_model(Options& options) {
  options
      .positional("model", &model,
                  "checkpoint (.pt, safetensors), ONNX file, definition file, or built-in "
                  "definition such as yolov10n.yaml")
      .is_required()
      .completes(Completion::kModels);
}

void ModelArguments::declare_size(Options& options) {
  options.add("imgsz", &image_size,
              "input size in pixels, multiples of 32 (the model's own or 640 when not given)");
}

void ModelArguments::declare_seed(Options& options, const std::string& more) {
  options.add("seed", &seed,
              "random weights of a definition (formula weights when not given)" + more);
}

Option& declare_head(Options& options, graph::Head* head) {
  return options
      .add("head", head,
           "one2many (raw, for NMS), one2one (raw), end2end (final rows of x1, y1, x2, y2, score, "
           "class); an ONNX file with final rows keeps them")
      .one_of(head_names());
}

Option& declare_wanted_head(Options& options, std::optional<graph::Head>* head) {
  return options
      .add("head", head, "head of a checkpoint, or of an ONNX file that does not say (one2many)")
      .one_of(head_names());
}

Option& declare_device(Options& options, Device* device) {
  return options.add(
      "device", device,
      "auto takes CUDA where there is a GPU; others fall back to the CPU and say so");
}

}  // namespace yoloquant::cli

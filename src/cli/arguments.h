#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "cli/options.h"
#include "graph/passes.h"
#include "onnx/writer.h"
#include "runtime/session.h"

// Arguments that several commands share, and their types as option values.
namespace yoloquant::cli {

struct ImageSize {
  int64_t height = 0;
  int64_t width = 0;
};

template <>
struct OptionValue<ImageSize> {
  static constexpr const char* kPlaceholder = "N|HxW";
  static ImageSize parse(const std::string& text);
  static std::string print(const ImageSize& size);
};

template <>
struct OptionValue<graph::Head> {
  static constexpr const char* kPlaceholder = "HEAD";
  static graph::Head parse(const std::string& text) { return graph::parse_head(text); }
  static std::string print(graph::Head head) { return std::string(graph::head_name(head)); }
};

template <>
struct OptionValue<onnx::Layout> {
  static constexpr const char* kPlaceholder = "NAME";
  static onnx::Layout parse(const std::string& text) { return onnx::parse_layout(text); }
  static std::string print(onnx::Layout value) { return std::string(onnx::layout_name(value)); }
};

template <>
struct OptionValue<onnx::Precision> {
  static constexpr const char* kPlaceholder = "NAME";
  static onnx::Precision parse(const std::string& text) { return onnx::parse_precision(text); }
  static std::string print(onnx::Precision value) {
    return std::string(onnx::precision_name(value));
  }
};

// --device: "auto", "cpu", "cuda", "cuda:1", "tensorrt", "tensorrt:1".
struct Device {
  std::string text = "auto";
  runtime::Provider provider = runtime::Provider::kAuto;
  int index = 0;

  // As LibTorch's executor names it: TensorRT runs what it makes, CUDA calibrates for it.
  std::string executor_name() const;
};

template <>
struct OptionValue<Device> {
  static constexpr const char* kPlaceholder = "auto|cpu|cuda[:N]|tensorrt[:N]";
  static Device parse(const std::string& text);
  static std::string print(const Device& device) { return device.text; }
};

// MODEL with what makes it: weights by seed and size of the input.
struct ModelArguments {
  std::string model;
  std::optional<uint64_t> seed;
  std::optional<ImageSize> image_size;

  int64_t height() const { return image_size ? image_size->height : 0; }
  int64_t width() const { return image_size ? image_size->width : 0; }

  // Throws Error that names the closest built-in definition when `model` is neither a file nor one.
  void check_model() const;

  void declare_model(Options& options);
  void declare_size(Options& options);
  void declare_seed(Options& options, const std::string& more = "");
};

Option& declare_head(Options& options, graph::Head* head);
Option& declare_device(Options& options, Device* device);
// Only what an ONNX file or image folder leaves open: unset means what the file says.
Option& declare_wanted_head(Options& options, std::optional<graph::Head>* head);

}  // namespace yoloquant::cli

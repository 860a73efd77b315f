#pragma once

#include <filesystem>
#include <vector>

#include "graph/graph.h"
#include "pipeline/quantize.h"
#include "tensor/tensor.h"

// Internal to the layer: an exported file against the simulator. Needs LibTorch.
namespace yoloquant::pipeline {

struct VerifyOptions {
  std::string device = "auto";  // of the simulator
  int threads = 0;              // of ONNX Runtime
  bool float16 = false;         // the file computes in float16
};

// Runs `annotated` and `reference` (the same graph before quantization, raw outputs [N, 4 + C, A])
// in the executor and `file` in ONNX Runtime on `images`, each [N, 3, H, W]. Throws Error when the
// file is further from the simulator than the bounds.
Verification verify_quantized(const graph::Graph& annotated, const graph::Graph& reference,
                              const std::filesystem::path& file, const std::vector<Tensor>& images,
                              const VerifyOptions& options);

// a - b for raw outputs of one shape, relative to `scale`, as a running sum over images.
class DifferenceSum {
 public:
  void add(const Tensor& a, const Tensor& b, const Tensor& scale);
  OutputDifference result() const;

 private:
  struct Part {
    double max = 0;
    double sum = 0;
    double squares = 0;
    double scale_squares = 0;
    int64_t count = 0;
    void add(std::span<const float> a, std::span<const float> b, std::span<const float> scale);
    double relative() const;
  };
  Part boxes_;
  Part scores_;
};

struct ConvDifference {
  int64_t convs = 0;
  double worst = 0;  // relative L2
  std::string name;
};

// Each quantized conv of `annotated` by itself: ONNX Runtime's output in `file` against the
// simulator's for the same input.
ConvDifference compare_convs(const graph::Graph& annotated, const std::filesystem::path& file,
                             const Tensor& image, const VerifyOptions& options);

}  // namespace yoloquant::pipeline

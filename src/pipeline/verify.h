#pragma once

#include <filesystem>
#include <vector>

#include "graph/graph.h"
#include "pipeline/output_form.h"
#include "pipeline/quantize.h"
#include "tensor/tensor.h"

// Internal to the layer: an exported file against the simulator. Needs LibTorch.
namespace yoloquant::pipeline {

struct VerifyOptions {
  std::string device = "auto";  // of the simulator
  int threads = 0;              // of ONNX Runtime
  bool float16 = false;         // the file computes in float16
};

// Runs `annotated` and `reference` (the same graph before quantization)
// in the executor and `file` in ONNX Runtime on `images`, each [N, 3, H, W]. Throws Error when the
// file is further from the simulator than the bounds. Of a graph that selects detections (TopK),
// the values that the selection starts from are compared: rows swap on the smallest differences.
Verification verify_quantized(const graph::Graph& annotated, const graph::Graph& reference,
                              const std::filesystem::path& file, const std::vector<Tensor>& images,
                              const VerifyOptions& options);

// a - b for outputs of one shape, relative to `scale`, as a running sum over images. kOther: boxes
// when the last extent is 4, else scores.
class DifferenceSum {
 public:
  void add(const Tensor& a, const Tensor& b, const Tensor& scale,
           OutputForm form = OutputForm::kRaw);
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

// The graph up to the selection of detections; all of it when there is none.
graph::Graph before_selection(const graph::Graph& graph);

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

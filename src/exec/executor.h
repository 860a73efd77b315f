#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "graph/graph.h"

namespace at {
class Tensor;
}

namespace yoloquant::exec {

// "auto", "cpu", "cuda", "cuda:1" -> the device that is used: "cpu", "cuda:0". Error for an unknown
// or absent one.
std::string resolve_device(const std::string& name);

// Whether convolutions are faster in bfloat16 than in float32 there. CPUs without instructions for
// it emulate them, at a half to a quarter of float32's speed.
bool is_fast_in_bfloat16(const std::string& device);

struct ExecutorOptions {
  std::string device = "auto";        // "auto" (CUDA when there is one), "cpu", "cuda", "cuda:1"
  DType precision = DType::kFloat32;  // of activations and weights; half types where supported
  bool fake_quantize = true;          // apply the graph's quantization annotations
};

// What a tap sees: the node, its inputs as the operator gets them (before fake-quantization), and
// its outputs.
using Tap = std::function<void(const graph::Node& node, const std::vector<at::Tensor>& inputs,
                               const std::vector<at::Tensor>& outputs)>;

// Runs a graph with LibTorch. Values are freed after their last use. With fake_quantize it is the
// simulator of the exported QCDQ file: the same arithmetic as ONNX Runtime's QuantizeLinear and
// DequantizeLinear around float convs.
// Not thread-safe; graphs of any input size and batch run without another shape inference.
class Executor {
 public:
  // Copies what it needs of `graph` to the device. Throws Error for an unknown or absent device.
  explicit Executor(const graph::Graph& graph, const ExecutorOptions& options = {});
  ~Executor();
  Executor(Executor&&) noexcept;
  Executor& operator=(Executor&&) noexcept;

  // One tensor per graph input, [N, 3, H, W] float32 in [0, 1]; returns one per graph output,
  // float32 or the output's integer type.
  std::vector<Tensor> run(const std::vector<Tensor>& inputs);
  // The same on LibTorch tensors (any device; no gradient).
  std::vector<at::Tensor> run(const std::vector<at::Tensor>& inputs);

  // Every value of a run, by its id in the graph, for run_changed. Those which nothing makes are
  // undefined.
  std::vector<at::Tensor> run_all(const std::vector<at::Tensor>& inputs);
  // The values `wanted` after parameters or annotations of the nodes `changed` were replaced: runs
  // these nodes again, and of the nodes that depend on them those which `wanted` needs. All else is
  // taken from `values`, of run_all before the change. To the bit what a whole run gives.
  std::vector<at::Tensor> run_changed(const std::vector<at::Tensor>& values,
                                      const std::vector<std::string>& changed,
                                      const std::vector<graph::ValueId>& wanted);

  // Calls `tap` after each node named in `nodes` ({}: after every node); replaces earlier taps. A
  // null tap removes them.
  void set_tap(Tap tap, const std::vector<std::string>& nodes = {});

  // Stops each run after the last tapped node; outputs are then empty. For calibration.
  void set_stop_after_taps(bool stop);

  // Replaces a parameter ("NODE.weight") or a conv's annotation in this executor.
  void set_parameter(const std::string& name, const Tensor& value);
  void set_quantization(const std::string& conv, const graph::ConvQuantization& quantization);

  std::string device() const;  // "cpu", "cuda:0"

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

// Number of threads of LibTorch's operators (process-wide). <= 0: all CPUs.
void set_threads(int threads);

// "2.13.0": for the run's environment record.
std::string torch_version();

}  // namespace yoloquant::exec

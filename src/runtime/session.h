#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tensor/tensor.h"

namespace yoloquant::runtime {

enum class Provider : uint8_t {
  kAuto,  // CUDA when this ONNX Runtime and machine have it, else CPU
  kCpu,
  kCuda,      // falls back to CPU, with the reason
  kTensorRt,  // falls back to CUDA, then CPU, with the reason
};
Provider parse_provider(std::string_view name);  // "auto", "cpu", "cuda", "tensorrt"; Error (usage)

struct SessionOptions {
  Provider provider = Provider::kAuto;
  int device = 0;                  // index of the GPU
  int threads = 0;                 // of one operator; <= 0: all CPUs of this process
  bool graph_optimization = true;  // false: every node as it stands in the file
};

// An input or output as the file declares it. Extents are -1 where they are dynamic; `symbols` then
// has their names ("batch").
struct ValueInfo {
  std::string name;
  DType dtype = DType::kFloat32;
  Shape shape;
  std::vector<std::string> symbols;
};

// An ONNX model loaded in ONNX Runtime. Running is thread-safe. Everything that ONNX Runtime
// refuses becomes an Error of one line.
class Session {
 public:
  explicit Session(const std::filesystem::path& path, const SessionOptions& options = {});
  // A model in memory; `label` names it in errors. External data is not found.
  static Session from_bytes(std::string_view model, const SessionOptions& options = {},
                            const std::string& label = "model");
  ~Session();
  Session(Session&&) noexcept;
  Session& operator=(Session&&) noexcept;

  // The provider in use, by ONNX Runtime's name: "CPUExecutionProvider".
  const std::string& provider() const;
  // Why it is not the one asked for; "" when it is.
  const std::string& fallback_reason() const;

  const std::vector<ValueInfo>& inputs() const;
  const std::vector<ValueInfo>& outputs() const;

  // One tensor per input, in the declared order; float inputs are converted to the declared type.
  // Returns one tensor per output.
  std::vector<Tensor> run(const std::vector<Tensor>& inputs);

  // The same without copies: results go into `outputs`, which must have the types and shapes that
  // the model makes for these inputs. For measuring latency.
  void run_into(const std::vector<Tensor>& inputs, std::vector<Tensor>& outputs);

 private:
  class Impl;
  explicit Session(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// Version of the ONNX Runtime library, and the providers it was built with.
std::string version();
std::vector<std::string> available_providers();

}  // namespace yoloquant::runtime

#include "runtime/session.h"

#include <onnxruntime_cxx_api.h>

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "base/parallel.h"

namespace yoloquant::runtime {

namespace {

constexpr const char* kCpuName = "CPUExecutionProvider";
constexpr const char* kCudaName = "CUDAExecutionProvider";
constexpr const char* kTensorRtName = "TensorrtExecutionProvider";

// What ONNX Runtime calls an error comes back as an exception; its log would only repeat it.
Ort::Env& environment() {
  static Ort::Env env(ORT_LOGGING_LEVEL_FATAL, "yoloquant");
  return env;
}

std::string one_line(std::string text) {
  std::ranges::replace(text, '\n', ' ');
  while (!text.empty() && text.back() == ' ') text.pop_back();
  return text;
}

template <typename Body>
auto translate(Body&& body) {
  try {
    return body();
  } catch (const Ort::Exception& error) {
    fail("ONNX Runtime: {}", one_line(error.what()));
  }
}

struct TypePair {
  DType dtype;
  ONNXTensorElementDataType type;
};
constexpr TypePair kTypes[] = {
    {DType::kFloat32, ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT},
    {DType::kFloat16, ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16},
    {DType::kBFloat16, ONNX_TENSOR_ELEMENT_DATA_TYPE_BFLOAT16},
    {DType::kFloat64, ONNX_TENSOR_ELEMENT_DATA_TYPE_DOUBLE},
    {DType::kInt8, ONNX_TENSOR_ELEMENT_DATA_TYPE_INT8},
    {DType::kUInt8, ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8},
    {DType::kInt16, ONNX_TENSOR_ELEMENT_DATA_TYPE_INT16},
    {DType::kInt32, ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32},
    {DType::kInt64, ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64},
    {DType::kBool, ONNX_TENSOR_ELEMENT_DATA_TYPE_BOOL},
};

DType dtype_from(ONNXTensorElementDataType type) {
  for (const TypePair& pair : kTypes) {
    if (pair.type == type) return pair.dtype;
  }
  fail("tensors of ONNX type {} are not supported", static_cast<int>(type));
}

ONNXTensorElementDataType type_of(DType dtype) {
  for (const TypePair& pair : kTypes) {
    if (pair.dtype == dtype) return pair.type;
  }
  fail("no ONNX type for {}", dtype_name(dtype));
}

ValueInfo describe(std::string name, const Ort::TypeInfo& type) {
  if (type.GetONNXType() != ONNX_TYPE_TENSOR) fail("'{}' is not a tensor", name);
  const auto tensor = type.GetTensorTypeAndShapeInfo();
  ValueInfo info{std::move(name), dtype_from(tensor.GetElementType()), tensor.GetShape(), {}};
  std::vector<const char*> symbols(info.shape.size(), nullptr);
  tensor.GetSymbolicDimensions(symbols.data(), symbols.size());
  for (const char* symbol : symbols) info.symbols.emplace_back(symbol == nullptr ? "" : symbol);
  return info;
}

// The providers to try, best first; CPU is always the last.
std::vector<std::string> candidates(Provider provider) {
  switch (provider) {
    case Provider::kCpu:
      return {kCpuName};
    case Provider::kAuto:
    case Provider::kCuda:
      return {kCudaName, kCpuName};
    case Provider::kTensorRt:
      return {kTensorRtName, kCudaName, kCpuName};
  }
  return {kCpuName};
}

Ort::SessionOptions ort_options(const SessionOptions& options, const std::string& provider) {
  Ort::SessionOptions result;
  result.SetIntraOpNumThreads(options.threads > 0 ? options.threads : default_threads());
  result.SetInterOpNumThreads(1);
  result.SetGraphOptimizationLevel(options.graph_optimization ? ORT_ENABLE_ALL : ORT_DISABLE_ALL);
  // Idle threads that spin after a run would slow whatever runs next in this process.
  result.AddConfigEntry("session.force_spinning_stop", "1");
  if (provider == kTensorRtName) {
    OrtTensorRTProviderOptions tensorrt{};
    tensorrt.device_id = options.device;
    result.AppendExecutionProvider_TensorRT(tensorrt);
  }
  if (provider == kTensorRtName || provider == kCudaName) {
    OrtCUDAProviderOptions cuda;
    cuda.device_id = options.device;
    result.AppendExecutionProvider_CUDA(cuda);
  }
  return result;
}

Ort::Value wrap(const Tensor& tensor) {
  static const auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
  const auto bytes = tensor.bytes();
  // ONNX Runtime reads inputs only, yet takes a pointer to mutable memory.
  auto* data = const_cast<std::byte*>(bytes.data());
  return Ort::Value::CreateTensor(memory, data, bytes.size(), tensor.shape().data(), tensor.rank(),
                                  type_of(tensor.dtype()));
}

Tensor unwrap(const Ort::Value& value) {
  const auto info = value.GetTensorTypeAndShapeInfo();
  Tensor tensor(dtype_from(info.GetElementType()), info.GetShape());
  const auto out = tensor.mutable_bytes();
  if (!out.empty()) std::memcpy(out.data(), value.GetTensorRawData(), out.size());
  return tensor;
}

}  // namespace

class Session::Impl {
 public:
  // `open` makes the ONNX Runtime session for given options.
  template <typename Open>
  Impl(const SessionOptions& options, std::string label, Open open) : label_(std::move(label)) {
    with_context(label_, [&] {
      choose(options, open);
      translate([&] { read_values(); });
    });
  }

  std::vector<Ort::Value> wrap_inputs(const std::vector<Tensor>& tensors,
                                      std::vector<Tensor>& converted) const {
    if (tensors.size() != inputs.size()) {
      fail("{} inputs for a model that has {}", tensors.size(), inputs.size());
    }
    std::vector<Ort::Value> values;
    converted.reserve(tensors.size());
    for (size_t i = 0; i < tensors.size(); ++i) {
      const DType wanted = inputs[i].dtype;
      if (tensors[i].dtype() == wanted) {
        values.push_back(wrap(tensors[i]));
      } else if (is_floating_point(tensors[i].dtype()) && is_floating_point(wanted)) {
        values.push_back(wrap(converted.emplace_back(tensors[i].to(wanted))));
      } else {
        fail("input '{}' is {}, not {}", inputs[i].name, dtype_name(wanted),
             dtype_name(tensors[i].dtype()));
      }
    }
    return values;
  }

  template <typename Body>
  auto guard(Body&& body) const {
    return with_context(label_, [&] { return translate(body); });
  }

  std::unique_ptr<Ort::Session> session;
  std::string provider = kCpuName;
  std::string fallback_reason;
  std::vector<ValueInfo> inputs;
  std::vector<ValueInfo> outputs;
  std::vector<const char*> input_names;
  std::vector<const char*> output_names;

 private:
  template <typename Open>
  void choose(const SessionOptions& options, Open open) {
    const std::vector<std::string> available = Ort::GetAvailableProviders();
    const std::vector<std::string> wanted = candidates(options.provider);
    for (const std::string& name : wanted) {
      const bool is_last = name == wanted.back();
      if (!is_last && std::ranges::find(available, name) == available.end()) {
        note(fmt::format("this ONNX Runtime has no {}", name));
        continue;
      }
      try {
        session = open(ort_options(options, name));
        provider = name;
        return;
      } catch (const Ort::Exception& error) {
        if (is_last) fail("ONNX Runtime: {}", one_line(error.what()));
        note(fmt::format("{}: {}", name, one_line(error.what())));
      }
    }
  }

  void note(const std::string& reason) {
    fallback_reason += (fallback_reason.empty() ? "" : "; ") + reason;
  }

  void read_values() {
    const Ort::AllocatorWithDefaultOptions allocator;
    for (size_t i = 0; i < session->GetInputCount(); ++i) {
      inputs.push_back(describe(session->GetInputNameAllocated(i, allocator).get(),
                                session->GetInputTypeInfo(i)));
    }
    for (size_t i = 0; i < session->GetOutputCount(); ++i) {
      outputs.push_back(describe(session->GetOutputNameAllocated(i, allocator).get(),
                                 session->GetOutputTypeInfo(i)));
    }
    for (const auto& input : inputs) input_names.push_back(input.name.c_str());
    for (const auto& output : outputs) output_names.push_back(output.name.c_str());
  }

  std::string label_;
};

Provider parse_provider(std::string_view name) {
  if (name == "auto") return Provider::kAuto;
  if (name == "cpu") return Provider::kCpu;
  if (name == "cuda") return Provider::kCuda;
  if (name == "tensorrt") return Provider::kTensorRt;
  fail_usage("unknown provider '{}': use auto, cpu, cuda or tensorrt", name);
}

Session::Session(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Session::Session(Session&&) noexcept = default;
Session& Session::operator=(Session&&) noexcept = default;
Session::~Session() = default;

Session::Session(const std::filesystem::path& path, const SessionOptions& options) {
  if (!std::filesystem::is_regular_file(path)) fail("{}: no such file", path.string());
  impl_ = std::make_unique<Impl>(options, path.string(), [&](const Ort::SessionOptions& ort) {
    return std::make_unique<Ort::Session>(environment(), path.c_str(), ort);
  });
}

Session Session::from_bytes(std::string_view model, const SessionOptions& options,
                            const std::string& label) {
  return Session(std::make_unique<Impl>(options, label, [&](const Ort::SessionOptions& ort) {
    return std::make_unique<Ort::Session>(environment(), model.data(), model.size(), ort);
  }));
}

const std::string& Session::provider() const { return impl_->provider; }
const std::string& Session::fallback_reason() const { return impl_->fallback_reason; }
const std::vector<ValueInfo>& Session::inputs() const { return impl_->inputs; }
const std::vector<ValueInfo>& Session::outputs() const { return impl_->outputs; }

std::vector<Tensor> Session::run(const std::vector<Tensor>& inputs) {
  return impl_->guard([&] {
    std::vector<Tensor> converted;
    const auto values = impl_->wrap_inputs(inputs, converted);
    const auto results =
        impl_->session->Run(Ort::RunOptions(), impl_->input_names.data(), values.data(),
                            values.size(), impl_->output_names.data(), impl_->output_names.size());
    std::vector<Tensor> outputs;
    for (const auto& result : results) outputs.push_back(unwrap(result));
    return outputs;
  });
}

void Session::run_into(const std::vector<Tensor>& inputs, std::vector<Tensor>& outputs) {
  impl_->guard([&] {
    if (outputs.size() != impl_->outputs.size()) {
      fail("{} outputs for a model that has {}", outputs.size(), impl_->outputs.size());
    }
    std::vector<Tensor> converted;
    const auto values = impl_->wrap_inputs(inputs, converted);
    std::vector<Ort::Value> results;
    for (Tensor& output : outputs) {
      output.mutable_bytes();  // private before ONNX Runtime writes into it
      results.push_back(wrap(output));
    }
    impl_->session->Run(Ort::RunOptions(), impl_->input_names.data(), values.data(), values.size(),
                        impl_->output_names.data(), results.data(), results.size());
  });
}

std::string version() { return Ort::GetVersionString(); }

std::vector<std::string> available_providers() { return Ort::GetAvailableProviders(); }

}  // namespace yoloquant::runtime

#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

#include "base/error.h"
#include "onnx/check.h"
#include "onnx/clean.h"
#include "onnx/reader.h"
#include "onnx/writer.h"

// Any bytes as an ONNX file: each reader reports, succeeds or throws Error; nothing else.
// What was read can be written, or not with an Error.
namespace {

template <typename Body>
void expect_error_or_success(Body&& body) {
  try {
    body();
  } catch (const yoloquant::Error&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  expect_error_or_success([&] { to_json(yoloquant::onnx::check_bytes(bytes)).dump(); });
  expect_error_or_success([&] { yoloquant::onnx::clean_bytes(bytes); });
  expect_error_or_success([&] {
    yoloquant::onnx::ReadReport report;
    const auto graph = yoloquant::onnx::read_bytes(bytes, {}, &report);
    yoloquant::onnx::serialize(graph, {.opset = 17});
  });
  return 0;
}

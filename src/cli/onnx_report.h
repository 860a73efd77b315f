#pragma once

#include <string>

#include "onnx/check.h"

namespace yoloquant::cli {

// What `onnx check` and `info` print of an ONNX file.
std::string onnx_report_text(const std::string& path, const onnx::CheckReport& report);

}  // namespace yoloquant::cli

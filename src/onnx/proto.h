#pragma once

// Private to this layer: the ONNX messages as protobuf compiled them.
#include "onnx-ml.pb.h"

namespace yoloquant::onnx {

namespace pb = ::onnx;

}  // namespace yoloquant::onnx

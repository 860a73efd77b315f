#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "onnx/proto.h"

// Private to this layer: ONNX files to messages and back. Files are untrusted.
namespace yoloquant::onnx {

// Throws Error when the bytes are no ONNX model.
pb::ModelProto parse_model(std::string_view bytes);

enum class ExternalData { kLeave, kLoad };
// With kLoad, initializers that live in other files become raw_data. Throws Error when such a file
// lies outside the model's folder or is too short.
pb::ModelProto load_model(const std::filesystem::path& path, ExternalData external);

// What is wrong with where an external initializer says its bytes are; "" when nothing is.
std::string external_data_problem(const pb::TensorProto& tensor,
                                  const std::filesystem::path& folder);

// Throws Error beyond protobuf's 2 GiB.
std::string serialize_model(const pb::ModelProto& model);

// Version of the default operator set; 0 when the model names none.
int64_t default_opset(const pb::ModelProto& model);

const pb::AttributeProto* find_attribute(const pb::NodeProto& node, std::string_view name);

}  // namespace yoloquant::onnx

#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "graph/graph.h"

namespace yoloquant::onnx {

// Key -> value of an ONNX file's metadata_props.
using MetadataProps = std::map<std::string, std::string>;

// What Ultralytics' exporter writes, as Python literals: description, stride (the largest), task,
// batch, imgsz [height, width], names {0: 'person', ...}; and of our own `strides` with all levels
// and `yoloquant.head` (raw outputs of both heads have one shape). Source:
// ultralytics/engine/exporter.py.
MetadataProps metadata_props(const graph::Metadata& metadata, const Shape& input_shape);

// The reverse. Keys that are missing leave their fields empty; values that are no such literals
// throw Error with the key.
graph::Metadata parse_metadata(const MetadataProps& props);

// The input's shape at export, [batch, 3, height, width] of `batch` and `imgsz`; 1 x 3 x 640 x 640
// where they are missing.
Shape exported_shape(const MetadataProps& props);

// {0: 'person', 1: 'it\'s'} as Python's repr writes a dict of int to str, and back.
std::string names_literal(const std::map<int, std::string>& names);
std::map<int, std::string> parse_names(std::string_view text);

}  // namespace yoloquant::onnx

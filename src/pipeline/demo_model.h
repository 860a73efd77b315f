#pragma once

#include <string_view>

// Internal to the layer.
namespace yoloquant::pipeline {

// The bytes of assets/shapes.pt, which travel inside the library: a YOLOv10 half as wide as n,
// trained on synthetic shapes (see assets/README.md).
std::string_view demo_model();

}  // namespace yoloquant::pipeline

#pragma once

#include <gtest/gtest.h>

#include "graph/graph.h"
#include "graph/quantizer.h"

namespace yoloquant::quant {

// Weights are scale times code.
inline void expect_on_grid(const graph::Graph& graph, double tolerance) {
  for (const auto& [conv, annotation] : graph.quantization) {
    const Tensor& weight = graph.parameter(conv + ".weight");
    const Tensor again = dequantize(quantize(weight, *annotation.weight), *annotation.weight);
    for (size_t i = 0; i < again.data<float>().size(); ++i) {
      ASSERT_NEAR(again.data<float>()[i], weight.data<float>()[i], tolerance) << conv;
    }
  }
}

}  // namespace yoloquant::quant

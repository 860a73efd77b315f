#include "quant/annotation_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "checkpoint/safetensors.h"
#include "quant/quantize.h"
#include "small_graph.h"
#include "support/error_of.h"
#include "support/temporary_folder.h"
#include "tiny_detector.h"

namespace yoloquant::quant {
namespace {

using test::error_of;
using testing::HasSubstr;

graph::Graph quantized(const graph::Graph& graph) {
  MadeImages images(2, 32);
  return quantize(graph, parse_config("{scheme: w4a8, method: gptq}"), images,
                  {.calibration = {.device = "cpu"}})
      .graph;
}

void expect_equal(const std::optional<graph::Quantizer>& a,
                  const std::optional<graph::Quantizer>& b) {
  ASSERT_EQ(a.has_value(), b.has_value());
  if (!a) return;
  EXPECT_EQ(std::tie(a->bits, a->qmin, a->qmax, a->axis, a->scale, a->zero_point),
            std::tie(b->bits, b->qmin, b->qmax, b->axis, b->scale, b->zero_point));
}

TEST(AnnotationFile, RoundTrip) {
  const test::TemporaryFolder folder;
  const graph::Graph graph = quantized(small_graph());
  write_annotations(folder / "a.safetensors", graph);
  const graph::Graph back = read_annotations(folder / "a.safetensors", small_graph());
  ASSERT_EQ(back.quantization.size(), graph.quantization.size());
  for (const auto& [conv, annotation] : graph.quantization) {
    expect_equal(back.quantization.at(conv).weight, annotation.weight);
    expect_equal(back.quantization.at(conv).input, annotation.input);
    EXPECT_TRUE(equal(back.parameter(conv + ".weight"), graph.parameter(conv + ".weight")));
    EXPECT_TRUE(equal(back.parameter(conv + ".bias"), graph.parameter(conv + ".bias")));
  }
}

TEST(AnnotationFile, WhatDoesNotFitIsRefused) {
  const test::TemporaryFolder folder;
  const auto path = folder / "a.safetensors";
  write_annotations(path, quantized(small_graph()));
  EXPECT_THAT(error_of([&] { read_annotations(path, tiny_detector()); }),
              HasSubstr("no conv of the model"));
  checkpoint::Safetensors file = checkpoint::read_safetensors(path);
  checkpoint::Safetensors broken = file;
  broken.tensors["stem.conv.weight_quantizer.scale"] =
      Tensor::from<float>({1}, std::vector<float>{-1});
  checkpoint::write_safetensors(path, broken);
  EXPECT_THAT(error_of([&] { read_annotations(path, small_graph()); }),
              HasSubstr("stem.conv.weight_quantizer"));
  broken = file;
  broken.tensors["stem.conv.weight"] = Tensor::from<float>({1}, std::vector<float>{1});
  checkpoint::write_safetensors(path, broken);
  EXPECT_THAT(error_of([&] { read_annotations(path, small_graph()); }), HasSubstr("another shape"));
  file.metadata.clear();
  checkpoint::write_safetensors(path, file);
  EXPECT_THAT(error_of([&] { read_annotations(path, small_graph()); }),
              HasSubstr("no annotations"));
}

}  // namespace
}  // namespace yoloquant::quant

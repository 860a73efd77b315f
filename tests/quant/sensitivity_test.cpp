#include "quant/sensitivity.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/linspace.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "base/error.h"
#include "exec/executor.h"
#include "quant/quantize.h"
#include "quant/range_choice.h"
#include "small_graph.h"
#include "support/models.h"

namespace yoloquant::quant {
namespace {

using testing::ElementsAre;

VariantOptions on_cpu(std::vector<int> weight_bits, std::vector<int> activation_bits) {
  VariantOptions options;
  options.weight_bits = std::move(weight_bits);
  options.activation_bits = std::move(activation_bits);
  options.calibration.device = "cpu";
  return options;
}

ReplayResult measure(const graph::Graph& graph, const std::vector<Variant>& variants,
                     const OnOutput& on_output = nullptr) {
  MadeImages images(2, 32);
  return replay(graph, graph, variants, images, {.device = "cpu"}, on_output);
}

// The same function with large weights: the stem's first two channels are made equal, and `conv`
// adds what it adds of one and takes it away of the other.
void make_fragile(graph::Graph& graph, const std::string& conv) {
  for (const char* part : {".weight", ".bias"}) {
    const auto values = graph.parameters.at(std::string("stem.conv") + part).mutable_data<float>();
    std::copy_n(values.begin(), values.size() / 16, values.begin() + values.size() / 16);
  }
  Tensor& weight = graph.parameters.at(conv + ".weight");
  const int64_t kernel = weight.dim(2) * weight.dim(3);
  const auto values = weight.mutable_data<float>();
  for (int64_t out = 0; out < weight.dim(0); ++out) {
    for (int64_t k = 0; k < kernel; ++k) {
      const int64_t first = out * weight.dim(1) * kernel + k;
      values[first] += 20;
      values[first + kernel] -= 20;
    }
  }
}

TEST(Sensitivity, AFragileLayerComesOutOnTop) {
  for (const std::string fragile : {"left.conv", "right.conv"}) {
    graph::Graph graph = small_graph();
    make_fragile(graph, fragile);
    MadeImages images(2, 32);
    VariantOptions options = on_cpu({4}, {});
    options.blocks = false;
    const auto variants = float_variants(graph, {}, images, options);
    ASSERT_EQ(variants.size(), 4U);
    const ReplayResult result = measure(graph, variants);
    size_t worst = 0;
    for (size_t i = 1; i < variants.size(); ++i) {
      if (result.variants[i].harm() > result.variants[worst].harm()) worst = i;
    }
    EXPECT_EQ(variants[worst].name, fragile);
  }
}

TEST(Sensitivity, HarmFallsWithTheBits) {
  const graph::Graph graph = small_graph();
  MadeImages images(2, 32);
  const auto variants = float_variants(graph, {}, images, on_cpu({4, 6, 8}, {4, 6, 8}));
  const ReplayResult result = measure(graph, variants);
  EXPECT_EQ(result.base.harm(), 0);
  for (size_t i = 0; i + 2 < variants.size(); i += 3) {
    SCOPED_TRACE(fmt::format("{} {}", variants[i].name, part_name(variants[i].part)));
    EXPECT_EQ(variants[i].bits, 4);
    EXPECT_EQ(variants[i + 2].bits, 8);
    EXPECT_GT(result.variants[i].harm(), result.variants[i + 1].harm());
    EXPECT_GT(result.variants[i + 1].harm(), result.variants[i + 2].harm());
    EXPECT_GT(result.variants[i + 2].harm(), 0);
  }
}

bool same(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && std::ranges::equal(a.bytes(), b.bytes());
}

TEST(Sensitivity, IsWhatAWholeRunOfThatChangeGives) {
  const graph::Graph graph = small_graph();
  MadeImages images(1, 32);
  const auto variants = float_variants(graph, {}, images, on_cpu({4}, {6}));
  std::vector<Tensor> outputs(variants.size() + 1);
  measure(graph, variants, [&](int64_t image, int64_t variant, const Tensor& output) {
    if (image == 0) outputs.at(static_cast<size_t>(variant + 1)) = output;
  });
  images.for_each_batch(1, [&](const Tensor& image) {
    const auto run = [&](const graph::Graph& changed) {
      return exec::Executor(changed, {.device = "cpu"}).run(std::vector<Tensor>{image}).at(0);
    };
    EXPECT_TRUE(same(outputs[0], run(graph)));
    for (size_t i = 0; i < variants.size(); ++i) {
      graph::Graph changed = graph;
      changed.quantization = variants[i].changes;
      EXPECT_TRUE(same(outputs[i + 1], run(changed))) << variants[i].name;
    }
  });
}

TEST(Sensitivity, SkippedLayersAndBadBitsAreLeftOut) {
  const graph::Graph graph = small_graph();
  MadeImages images(1, 32);
  const auto variants = float_variants(graph, parse_config("layers: [{match: stem, skip: true}]"),
                                       images, on_cpu({4}, {8}));
  EXPECT_EQ(variants.size(), 6U);
  EXPECT_THROW(float_variants(graph, {}, images, on_cpu({9}, {})), Error);
  EXPECT_THROW(float_variants(graph, {}, images, on_cpu({4}, {16})), Error);
  EXPECT_THROW(float_variants(graph, parse_config("layers: [{match: '*', skip: true}]"), images,
                              on_cpu({4}, {})),
               Error);
}

TEST(Sensitivity, InputsAreMeasuredWithTheRangesThatQuantizationChooses) {
  const graph::Graph graph = small_graph();
  MadeImages images(kLeastImagesToChooseRanges, 32);
  const QuantizationConfig config = parse_config("{scheme: w8a8}");
  const auto variants = float_variants(graph, config, images, on_cpu({}, {8}));
  const graph::Graph quantized =
      quantize(graph, config, images, {.calibration = {.device = "cpu"}}).graph;
  int compared = 0;
  for (const Variant& variant : variants) {
    if (variant.block) continue;
    for (const auto& [conv, annotation] : variant.changes) {
      EXPECT_EQ(annotation.input->scale, quantized.quantization.at(conv).input->scale) << conv;
      EXPECT_EQ(annotation.input->zero_point, quantized.quantization.at(conv).input->zero_point);
      ++compared;
    }
  }
  EXPECT_EQ(compared, 4);
}

TEST(Sensitivity, BlocksAreModulePathsWithSeveralConvs) {
  const auto blocks = conv_blocks({"model.0.conv", "model.2.cv1.conv", "model.2.m.0.cv1.conv",
                                   "model.2.m.0.cv2.conv", "model.2.cv2.conv", "model.3.conv"});
  std::vector<std::string> names;
  for (const auto& [path, convs] : blocks) names.push_back(path);
  EXPECT_THAT(names, ElementsAre("model", "model.2", "model.2.m"));
  EXPECT_EQ(blocks[1].second.size(), 4U);
  EXPECT_THAT(blocks[2].second, ElementsAre("model.2.m.0.cv1.conv", "model.2.m.0.cv2.conv"));
}

TEST(Sensitivity, LayersRoundedByGptqDoLessHarm) {
  const graph::Graph graph = test::formula_graph("yolov10n", graph::Head::kOneToMany);
  MadeImages images(2, 64);
  VariantOptions options = on_cpu({4}, {});
  options.blocks = false;
  const auto total = [&](Rounding rounding) {
    options.rounding = rounding;
    const auto variants = float_variants(graph, {}, images, options);
    double harm = 0;
    const ReplayResult result = replay(graph, graph, variants, images, {.device = "cpu"});
    for (const OutputHarm& one : result.variants) harm += one.harm();
    return harm;
  };
  EXPECT_LT(total(Rounding::kGptq), 0.7 * total(Rounding::kNearest));
}

TEST(Sensitivity, RaisingOneLayerOfAQuantizedGraphHelps) {
  graph::Graph graph = small_graph();
  make_fragile(graph, "right.conv");
  MadeImages images(2, 32);
  const auto quantized = quantize(graph, parse_config("{scheme: w3a16, method: gptq}"), images,
                                  {.calibration = {.device = "cpu"}});
  const auto variants = raising_variants(graph, {}, {8});
  ASSERT_EQ(variants.size(), 8U);  // float and 8 bits
  const auto result = replay(graph, quantized.graph, variants, images, {.device = "cpu"});
  EXPECT_GT(result.base.harm(), 0);
  for (size_t i = 0; i < variants.size(); ++i) {
    if (variants[i].name == "right.conv") {
      EXPECT_LT(result.variants[i].harm(), result.base.harm());
    }
  }
  // All of them together are the float model.
  Variant all = variants[0];
  for (const Variant& variant : variants) {
    if (variant.bits != 0) continue;
    all.changes.insert(variant.changes.begin(), variant.changes.end());
    all.parameters.insert(variant.parameters.begin(), variant.parameters.end());
  }
  EXPECT_EQ(replay(graph, quantized.graph, {all}, images, {.device = "cpu"}).variants[0].harm(), 0);
}

TEST(OutputHarm, WatchesTheLogitsOfADetectionHead) {
  const graph::Graph head = test::formula_graph("yolov10n", graph::Head::kEndToEnd);
  const WatchedValues watched = watched_values(head);
  ASSERT_TRUE(watched.detection);
  EXPECT_EQ(head.values[watched.values[0]].shape, (Shape{1, 16, 4, 84}));
  EXPECT_EQ(head.values[watched.values[1]].shape, (Shape{1, 80, 84}));
  EXPECT_EQ(head.values[watched.values[1]].name, "model.23.one2one_classes");
  const graph::Graph plain = small_graph();
  EXPECT_FALSE(watched_values(plain).detection);
  EXPECT_EQ(watched_values(plain).values, plain.outputs);
}

TEST(OutputHarm, OfBothHeadsIsTheirSumPerExpectedDetection) {
  const graph::Graph both = test::formula_graph("yolov10n", graph::Head::kBoth);
  const WatchedValues watched = watched_values(both);
  ASSERT_TRUE(watched.detection);
  EXPECT_THAT(watched.names, ElementsAre("one2many.boxes", "one2many.classes", "one2one.boxes",
                                         "one2one.classes"));
  const WatchedValues one{.detection = true, .values = {0, 1}, .names = {"boxes", "classes"}};
  const at::Tensor boxes = at::linspace(-1, 1, 1 * 16 * 4 * 5).view({1, 16, 4, 5});
  const at::Tensor classes = at::linspace(-3, 2, 1 * 2 * 5).view({1, 2, 5});
  const at::Tensor changed = classes.mul(0.5);
  const OutputHarm single = HarmMeter(one, {boxes, classes}).compare({boxes, changed});
  const HarmMeter meter(watched, {boxes, classes, boxes, classes});
  const OutputHarm first = meter.compare({boxes, changed, boxes, classes});
  const OutputHarm second = meter.compare({boxes, classes, boxes, changed});
  EXPECT_GT(single.harm(), 0);
  EXPECT_NEAR(first.harm(), single.harm() / 2, 1e-6);
  EXPECT_NEAR(second.harm(), single.harm() / 2, 1e-6);
  EXPECT_EQ(meter.compare({boxes.mul(2), changed, boxes.mul(2), changed}).relative_errors().size(),
            4U);
}

}  // namespace
}  // namespace yoloquant::quant

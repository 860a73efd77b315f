#include "quant/quantize.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/error.h"
#include "exec/executor.h"
#include "model/model.h"
#include "quant/method.h"
#include "quant/reference.h"
#include "small_graph.h"
#include "support/npy.h"

namespace yoloquant::quant {
namespace {

using testing::HasSubstr;

QuantizeOptions on_cpu() { return {.calibration = {.device = "cpu"}}; }

QuantizationResult quantize_small(const std::string& yaml) {
  MadeImages images(4, 32);
  return quantize(small_graph(), parse_config(yaml), images, on_cpu());
}

Tensor run(const graph::Graph& graph, const Tensor& image) {
  return exec::Executor(graph, {.device = "cpu"}).run(std::vector<Tensor>{image}).at(0);
}

graph::Graph formula_model() {
  graph::Graph graph = model::build(model::load_definition("yolov10n.yaml"), 64, 64);
  model::set_formula_parameters(graph);
  return graph;
}

TEST(Quantize, AnnotatesEveryConvAndStaysClose) {
  const Tensor image = random_tensor({1, 3, 32, 32}, 9, 0, 1);
  const Tensor expected = run(small_graph(), image);
  std::map<std::string, double> error;
  for (const char* scheme : {"w8a16", "w8a8", "w4a16", "w4a8", "w3a4"}) {
    const auto result = quantize_small(fmt::format("scheme: {}", scheme));
    ASSERT_EQ(result.layers.size(), 4U);
    for (const LayerReport& layer : result.layers) {
      EXPECT_EQ(layer.bits, result.config.scheme.weight_bits);
      EXPECT_EQ(layer.input.has_value(), result.config.scheme.quantizes_activations());
      EXPECT_GT(layer.sqnr_db, 6 * layer.bits - 12) << layer.conv;
      EXPECT_FALSE(layer.lossless);
    }
    error[scheme] = test::relative_error(run(result.graph, image), expected);
  }
  EXPECT_LT(error["w8a16"], 0.02);
  EXPECT_LT(error["w8a8"], 0.03);
  EXPECT_LT(error["w8a16"], error["w4a16"]);
  EXPECT_LT(error["w8a8"], error["w4a8"]);
  EXPECT_LT(error["w4a8"], error["w3a4"]);
}

TEST(Quantize, RulesChooseBitsAndSkip) {
  const auto result = quantize_small(
      "{scheme: w4a8, layers: [{match: stem, weight_bits: 8}, {match: 'r*.conv', skip: true}]}");
  EXPECT_EQ(result.layers[0].bits, 8);
  EXPECT_EQ(result.layers[1].bits, 4);
  EXPECT_EQ(result.layers[2].conv, "right.conv");
  EXPECT_EQ(result.layers[2].bits, 0);
  EXPECT_FALSE(result.layers[2].input);
  EXPECT_FALSE(result.graph.quantization.contains("right.conv"));
  const double weights = 16 * 27 + 16 * 8 + 16 * 72 + 8 * 4;
  EXPECT_NEAR(mean_weight_bits(result.layers),
              (8 * 16 * 27 + 4 * (16 * 8 + 8 * 4) + 32 * 16 * 72) / weights, 1e-9);
  EXPECT_THROW(quantize_small("layers: [{match: nothing, skip: true}]"), Error);
  const auto table = layer_table(result.layers);
  ASSERT_EQ(table.size(), 5U);
  for (const auto& row : table) EXPECT_EQ(row.size(), table[0].size());
  EXPECT_EQ(table[3][2], "float");
}

TEST(Quantize, WeightsThatAreNotFiniteAreNamed) {
  graph::Graph graph = small_graph();
  graph.parameters.at("left.conv.weight").mutable_data<float>()[3] =
      std::numeric_limits<float>::infinity();
  MadeImages images(1, 32);
  try {
    quantize(graph, parse_config("scheme: w8a16"), images, on_cpu());
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("left.conv: weight 3 of 128 is inf"));
  }
}

// Doubles the first conv's output.
class Doubling : public Method {
 public:
  std::string_view name() const override { return "test_doubling"; }
  void apply(graph::Graph& annotated, const MethodContext& context) override {
    EXPECT_TRUE(annotated.quantization.at("stem.conv").weight) << "nearest comes first";
    EXPECT_EQ(annotated.quantization.at("stem.conv").input.has_value(),
              context.config.scheme.activation_bits < kFineInputBits);
    EXPECT_GE(context.images.size(), 4);
    for (float& scale : annotated.quantization.at("stem.conv").weight->scale) scale *= 2;
    for (const char* part : {"stem.conv.weight", "stem.conv.bias"}) {
      for (float& x : annotated.parameters.at(part).mutable_data<float>()) x *= 2;
    }
  }
};

TEST(Quantize, CalibratesAgainAfterAMethodChangedWeights) {
  register_method("test_doubling", [] { return std::make_unique<Doubling>(); });
  MadeImages images(12, 32);
  for (const char* range : {"minmax", "chosen"}) {
    const auto made_by = [&](const char* method) {
      const std::string yaml = fmt::format(
          "{{scheme: w4a6, method: {}, defaults: {{activation_range: {}}}}}", method, range);
      return quantize(small_graph(), parse_config(yaml), images, on_cpu());
    };
    const auto plain = made_by("nearest");
    const auto doubled = made_by("test_doubling");
    EXPECT_GT(doubled.layers[1].input->max, 1.8 * plain.layers[1].input->max) << range;
    const auto scale = [](const QuantizationResult& result) {
      return result.graph.quantization.at("left.conv").input->scale.at(0);
    };
    EXPECT_GT(scale(doubled), 1.5 * scale(plain)) << range;
    EXPECT_EQ(doubled.layers[0].input->max, plain.layers[0].input->max) << range;
  }
  const QuantizationResult fine = quantize(
      small_graph(), parse_config("{scheme: w4a8, method: test_doubling}"), images, on_cpu());
  EXPECT_TRUE(fine.graph.quantization.at("left.conv").input);
  EXPECT_THROW(register_method("test_doubling", nullptr), Error);
}

// Mean error of a node's output over the images, by channel; largest magnitude.
double mean_shift(const graph::Graph& quantized, const std::string& conv) {
  std::vector<double> shift;
  MadeImages images(4, 32);
  const auto add = [&](const graph::Graph& graph, double sign) {
    graph::Graph cut = graph;
    cut.outputs = {graph.find_node(conv)->outputs.at(0)};
    images.for_each_batch(1, [&](const Tensor& image) {
      const Tensor out = run(cut, image);
      const auto values = out.data<float>();
      const auto channels = static_cast<size_t>(out.dim(1));
      const size_t pixels = values.size() / channels;
      shift.resize(channels);
      for (size_t i = 0; i < values.size(); ++i) {
        shift[i / pixels] += sign * values[i] / static_cast<double>(pixels) / 4;
      }
    });
  };
  add(quantized, 1);
  add(small_graph(), -1);
  double largest = 0;
  for (const double s : shift) largest = std::max(largest, std::abs(s));
  return largest;
}

TEST(BiasCorrection, TakesOutTheMeanErrorOfEachConv) {
  // Only one conv is quantized, so that what is left is its own error; 1x1, so that it is exact.
  const std::string yaml =
      "scheme: w3a4, layers: [{match: stem, skip: true}, {match: right, skip: true}, "
      "{match: last, skip: true}]";
  const auto plain = quantize_small("{method: nearest, " + yaml + "}");
  const auto corrected = quantize_small("{method: bias, " + yaml + "}");
  const double before = mean_shift(plain.graph, "left.conv");
  EXPECT_GT(before, 0.01);
  EXPECT_LT(mean_shift(corrected.graph, "left.conv"), 0.1 * before);
  EXPECT_TRUE(equal(plain.graph.parameter("left.conv.weight"),
                    corrected.graph.parameter("left.conv.weight")));
}

TEST(Quantize, WholeModelKeepsTheDflProjectionExact) {
  MadeImages images(2, 64);
  for (const char* scheme : {"w4a8", "w8a16", "w2a16"}) {
    const auto result =
        quantize_model(formula_model(), graph::Head::kOneToMany,
                       parse_config(fmt::format("scheme: {}", scheme)), images, on_cpu());
    EXPECT_EQ(result.layers.size(), graph::conv_names(result.graph).size());
    EXPECT_EQ(result.graph.quantization.size(), result.layers.size());
    const auto dfl = std::ranges::find_if(result.layers, [](const LayerReport& l) {
      return l.conv.find("dfl") != std::string::npos;
    });
    ASSERT_NE(dfl, result.layers.end());
    EXPECT_TRUE(dfl->lossless);
    EXPECT_EQ(dfl->scale_min, 1);
    EXPECT_EQ(layer_table({*dfl})[1][4], "exact");
  }
}

TEST(ReferencePreset, FoldedWeightsLieOnTheirGrids) {
  const graph::Graph model = formula_model();
  for (const int bits : {4, 8}) {
    const auto graph = reference_weights(model, graph::Head::kOneToMany, {bits, 16});
    const int limit = (1 << (bits - 1)) - 1;
    for (const std::string& conv : graph::conv_names(graph)) {
      const auto& quantizer = *graph.quantization.at(conv).weight;
      EXPECT_EQ(quantizer.qmin, -limit);
      EXPECT_EQ(quantizer.qmax, limit);
      const Tensor& weight = graph.parameter(conv + ".weight");
      const Tensor restored = graph::dequantize(graph::quantize(weight, quantizer), quantizer);
      EXPECT_LT(test::relative_error(restored, weight), 1e-6) << conv;
    }
  }
}

TEST(ReferencePreset, EqualsQuantizingBeforeFolding) {
  const graph::Graph model = formula_model();
  graph::Graph unfolded = graph::keep_head(model, graph::Head::kOneToMany);
  for (const std::string& conv : graph::conv_names(unfolded)) {
    Tensor& weight = unfolded.parameters.at(conv + ".weight");
    float largest = 0;
    for (const float w : weight.data<float>()) largest = std::max(largest, std::abs(w));
    const float scale = largest / 7;
    for (float& w : weight.mutable_data<float>()) w = std::nearbyint(w / scale) * scale;
  }
  const Tensor image = model::formula_tensor("images", {1, 3, 64, 64});
  const auto folded = reference_weights(model, graph::Head::kOneToMany, {4, 16});
  EXPECT_LT(test::relative_error(run(folded, image), run(unfolded, image)), 1e-4);
}

TEST(ReferencePreset, DestroysTheDflProjectionAndTakesNoRules) {
  MadeImages images(2, 64);
  auto config = parse_config("{scheme: w4a8, preset: reference}");
  const auto result =
      quantize_model(formula_model(), graph::Head::kOneToOne, config, images, on_cpu());
  for (const LayerReport& layer : result.layers) {
    ASSERT_TRUE(layer.input);
    EXPECT_EQ(layer.input->zero_point, 0);
    EXPECT_EQ(layer.input->bits, 8);
    if (layer.conv.find("dfl") != std::string::npos) {
      EXPECT_FALSE(layer.lossless);
      EXPECT_LT(layer.sqnr_db, 30);
    }
  }
  config.rules.push_back({"model.0", {}});
  EXPECT_THROW(quantize_model(formula_model(), graph::Head::kOneToOne, config, images, on_cpu()),
               Error);
}

}  // namespace
}  // namespace yoloquant::quant

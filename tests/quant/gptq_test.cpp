#include "quant/gptq.h"

#include <gtest/gtest.h>

#include <cmath>

#include "exec/executor.h"
#include "grid.h"
#include "model/model.h"
#include "quant/nearest.h"
#include "quant/quantize.h"
#include "tiny_detector.h"

namespace yoloquant::quant {
namespace {

// Distance of the class logits from the float model's on images the method has not seen.
double logit_error(const graph::Graph& quantized, const graph::Graph& reference) {
  const Tensor image = model::formula_tensor("unseen", {2, 3, 64, 64});
  const auto logits = [&](const graph::Graph& graph) {
    graph::Graph cut = graph;
    cut.outputs.clear();
    for (size_t i = 0; i < cut.values.size(); ++i) {
      if (cut.values[i].name == "model.3.classes") {
        cut.outputs.push_back(static_cast<graph::ValueId>(i));
      }
    }
    return exec::Executor(cut, {.device = "cpu"}).run({image}).at(0);
  };
  const Tensor a = logits(quantized);
  const Tensor b = logits(reference);
  double error = 0;
  for (size_t i = 0; i < a.data<float>().size(); ++i) {
    error += std::pow(a.data<float>()[i] - b.data<float>()[i], 2);
  }
  return error;
}

QuantizationResult quantized(const graph::Graph& reference, const std::string& scheme,
                             const std::string& method) {
  MemoryCalibrationData images(model::formula_tensor("images", {6, 3, 64, 64}));
  QuantizationConfig config;
  config.scheme = parse_scheme(scheme);
  config.method = method;
  QuantizeOptions options;
  options.seed = 3;
  return quantize(reference, config, images, options);
}

TEST(Gptq, ComesMuchCloserToTheFloatOutputThanNearest) {
  const graph::Graph reference = tiny_detector();
  for (const char* scheme : {"w4a16", "w4a8"}) {
    const double nearest = logit_error(quantized(reference, scheme, "nearest").graph, reference);
    const double gptq = logit_error(quantized(reference, scheme, "gptq").graph, reference);
    EXPECT_LT(gptq, 0.5 * nearest) << scheme;
  }
}

TEST(Gptq, WeightsAreOnTheGridTheyAreStoredWith) {
  const QuantizationResult result = quantized(tiny_detector(), "w4a16", "gptq");
  expect_on_grid(result.graph, 1e-6);
}

TEST(Gptq, DependsOnTheSeedAlone) {
  const graph::Graph reference = tiny_detector();
  const QuantizationResult a = quantized(reference, "w4a16", "gptq");
  const QuantizationResult b = quantized(reference, "w4a16", "gptq");
  for (const auto& [name, value] : a.graph.parameters) {
    EXPECT_TRUE(equal(value, b.graph.parameter(name))) << name;
  }
}

class RoundAlone : public testing::Test {
 protected:
  // Of these convs ("": all), rounded.
  graph::Graph rounded(int bits, const std::string& only = "") {
    graph::Graph graph = reference_;
    QuantizationConfig config;
    config.scheme.weight_bits = bits;
    annotate_weights(graph, config);
    std::erase_if(graph.quantization,
                  [&](const auto& entry) { return !only.empty() && entry.first != only; });
    round_alone(reference_, {&graph}, images_, {.seed = 3, .device = "cpu"});
    return graph;
  }

  graph::Graph reference_ = tiny_detector();
  MemoryCalibrationData images_{model::formula_tensor("images", {6, 3, 64, 64})};
};

TEST_F(RoundAlone, OtherConvsDoNotMatter) {
  const graph::Graph all = rounded(4);
  for (const std::string conv : {"model.0.conv", "model.2.cv2.conv", "model.3.cv3.1.2"}) {
    const graph::Graph one = rounded(4, conv);
    EXPECT_TRUE(equal(one.parameter(conv + ".weight"), all.parameter(conv + ".weight"))) << conv;
    EXPECT_FALSE(equal(one.parameter(conv + ".weight"), reference_.parameter(conv + ".weight")));
  }
}

TEST_F(RoundAlone, FewBitsAreRoundedOntoTheirGridAndManyStay) {
  const graph::Graph few = rounded(3);
  expect_on_grid(few, 1e-6);
  const char* dfl = "model.3.dfl.conv.weight";
  EXPECT_TRUE(equal(few.parameter(dfl), reference_.parameter(dfl)));
  const graph::Graph many = rounded(8);
  for (const auto& [name, value] : reference_.parameters) {
    EXPECT_TRUE(equal(many.parameter(name), value)) << name;
  }
}

TEST(Gptq, LeavesTheDflProjectionAlone) {
  const graph::Graph reference = tiny_detector();
  const QuantizationResult result = quantized(reference, "w4a8", "gptq");
  EXPECT_TRUE(equal(result.graph.parameter("model.3.dfl.conv.weight"),
                    reference.parameter("model.3.dfl.conv.weight")));
}

TEST(Gptq, PutsAProjectionWithRoundingErrorsOnWholeNumbers) {
  graph::Graph reference = tiny_detector();
  const auto bins = reference.parameters.at("model.3.dfl.conv.weight").mutable_data<float>();
  for (size_t i = 1; i + 1 < bins.size(); i += 2) bins[i] -= 0.055F;
  for (const char* method : {"nearest", "gptq", "adaround"}) {
    const QuantizationResult result = quantized(reference, "w4a16", method);
    const auto fitted = result.graph.parameter("model.3.dfl.conv.weight").data<float>();
    const graph::Quantizer& quantizer = *result.graph.quantization.at("model.3.dfl.conv").weight;
    EXPECT_EQ(quantizer.scale.at(0), 1.0F) << method;
    for (size_t i = 0; i < fitted.size(); ++i) {
      EXPECT_EQ(std::round(fitted[i]), static_cast<float>(i)) << method;
    }
  }
}

}  // namespace
}  // namespace yoloquant::quant

#include "pipeline/quantize.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "model/model.h"
#include "pipeline/small_run.h"
#include "pipeline/verify.h"
#include "support/error_of.h"

namespace yoloquant::pipeline {
namespace {

using graph::Head;
using test::error_of;
using testing::HasSubstr;

class QuantizeTest : public testing::Test {
 protected:
  QuantizeTest() : data_(test::write_small_data(folder_.path())) {
    model_ = load_model(
        "yolov10n.yaml",
        {.class_count = 3, .image_height = test::kSmallSize, .image_width = test::kSmallSize});
    options_.calibration.source = data_ / "train2017";
    options_.calibration.images = 2;
    options_.device = "cpu";
    options_.threads = 1;
  }
  QuantizeResult quantize(const std::string& scheme) {
    options_.config.scheme = quant::parse_scheme(scheme);
    return quantize_onnx(model_, folder_ / "q.onnx", options_);
  }

  test::TemporaryFolder folder_;
  std::filesystem::path data_;
  LoadedModel model_;
  QuantizeOptions options_;
};

int64_t count(const onnx::CheckReport& report, const std::string& op) {
  const auto found = report.op_counts.find(op);
  return found == report.op_counts.end() ? 0 : found->second;
}

TEST_F(QuantizeTest, NodeCountsFollowTheScheme) {
  const auto convs =
      static_cast<int64_t>(graph::conv_names(graph::for_inference(model_.graph, Head::kOneToMany,
                                                                  graph::Branches::kKeep))
                               .size());
  for (const char* scheme : {"w8a16", "w4a8"}) {
    const QuantizeResult result = quantize(scheme);
    const int64_t inputs = options_.config.scheme.quantizes_activations() ? convs : 0;
    EXPECT_EQ(count(result.check, "QuantizeLinear"), inputs) << scheme;
    EXPECT_EQ(count(result.check, "DequantizeLinear"), convs + inputs) << scheme;
    EXPECT_EQ(count(result.check, "Clip"), convs) << scheme;
    EXPECT_EQ(result.layers.size(), static_cast<size_t>(convs)) << scheme;
    EXPECT_EQ(result.calibration_images, inputs > 0 ? 2 : 0) << scheme;
  }
}

TEST_F(QuantizeTest, FileComputesWhatTheSimulatorDoes) {
  const QuantizeResult floats = quantize("w4a16");
  EXPECT_EQ(floats.verification.images, 2);
  EXPECT_LT(floats.verification.worst_conv, 1e-5);
  EXPECT_LT(floats.verification.optimized.relative_score, 1e-4);
  EXPECT_LT(floats.verification.unoptimized.relative_box, 1e-4);
  EXPECT_GT(floats.verification.quantization.relative_score, 1e-3);
  const QuantizeResult codes = quantize("w8a8");
  EXPECT_LT(codes.verification.worst_conv, 1e-5);
  EXPECT_EQ(codes.verification.convs, static_cast<int64_t>(codes.layers.size()));
  EXPECT_LE(codes.verification.optimized.relative_score, codes.verification.bound_score);
  const auto json = verification_json(codes.verification);
  EXPECT_EQ(json["optimized"]["max_score"], codes.verification.optimized.max_score);
}

TEST_F(QuantizeTest, EndToEndAndHalfPrecision) {
  options_.head = Head::kEndToEnd;
  const QuantizeResult result = quantize("w8a8");
  EXPECT_EQ(result.check.metadata.at("yoloquant.head"), "end2end");
  EXPECT_EQ(result.check.outputs.at(0).shape.at(2).size, 6);
  options_.head = Head::kOneToMany;
  options_.precision = onnx::Precision::kFloat16;
  EXPECT_GT(quantize("w8a16").check.initializer_bytes.at("int8"), 0);
}

// The ranges that serve both heads are others, the file is one head's all the same.
TEST_F(QuantizeTest, BothHeadsTuned) {
  options_.calibration.source = test::write_small_data(folder_ / "more", 1, 8) / "train2017";
  options_.calibration.images = 8;
  options_.verify_images = 0;
  const QuantizeResult alone = quantize("w8a8");
  options_.tuned_heads = TunedHeads::kBoth;
  const QuantizeResult result = quantize("w8a8");
  EXPECT_EQ(result.check.op_counts, alone.check.op_counts);
  EXPECT_EQ(result.check.metadata.at("yoloquant.head"), "one2many");
  ASSERT_EQ(result.layers.size(), alone.layers.size());
  int changed = 0;
  for (size_t i = 0; i < alone.layers.size(); ++i) {
    EXPECT_EQ(result.layers[i].conv, alone.layers[i].conv);
    if (result.layers[i].input->scale != alone.layers[i].input->scale) ++changed;
  }
  EXPECT_GT(changed, 0);
  options_.config.preset = quant::Preset::kReference;
  EXPECT_THAT(error_of([&] { quantize("w8a8"); }), HasSubstr("reference preset"));
  options_.config.preset = quant::Preset::kNone;
  options_.head = Head::kBoth;
  EXPECT_THAT(error_of([&] { quantize("w8a8"); }), HasSubstr("choose one head"));
}

TEST_F(QuantizeTest, ReferencePreset) {
  options_.config.preset = quant::Preset::kReference;
  const QuantizeResult result = quantize("w4a16");
  EXPECT_LT(result.verification.worst_conv, 1e-5);
}

TEST_F(QuantizeTest, FloatActivationsNeedNoImages) {
  options_.calibration = {};
  const QuantizeResult result = quantize("w8a16");
  EXPECT_EQ(result.verification.images, 1);
  EXPECT_THAT(result.warnings, testing::ElementsAre(HasSubstr("noise")));
  EXPECT_THAT(error_of([&] { quantize("w8a8"); }), HasSubstr("--calib"));
}

// Verified against the simulator of the graph with quantized values, as other layouts are.
TEST_F(QuantizeTest, LayoutDeploy) {
  options_.layout = onnx::Layout::kDeploy;
  const QuantizeResult result = quantize("w8a8");
  EXPECT_LT(result.verification.worst_conv, 1e-5);
  EXPECT_LE(result.verification.optimized.relative_score, result.verification.bound_score);
  EXPECT_GT(count(result.check, "QuantizeLinear"), result.verification.convs);
  EXPECT_EQ(count(result.check, "Clip"), 0);
  EXPECT_THAT(error_of([&] { quantize("w8a16"); }), HasSubstr("8-bit activations"));
  options_.layout = onnx::Layout::kInt4;
  EXPECT_EQ(quantize("w4a16").check.opset, 21);
}

TEST_F(QuantizeTest, FailureLeavesTheOldFile) {
  write_file(folder_ / "q.onnx", "old");
  options_.config.rules.push_back({"no.such.layer", {}});
  EXPECT_THAT(error_of([&] { quantize("w8a16"); }), HasSubstr("no.such.layer"));
  EXPECT_EQ(read_file(folder_ / "q.onnx"), "old");
}

// A file that was quantized otherwise than the graph says must not pass.
class VerifyTest : public QuantizeTest {
 protected:
  VerifyTest() {
    reference_ = graph::for_inference(model_.graph, Head::kOneToMany, graph::Branches::kKeep);
    images_.push_back(model::formula_tensor("images", {1, 3, 64, 64}));
    quant::MemoryCalibrationData calibration(images_[0]);
    quant::QuantizationConfig config;
    config.scheme = {8, 8};
    annotated_ = quant::quantize(reference_, config, calibration).graph;
    onnx::write(annotated_, file_);
  }
  Verification verify(const graph::Graph& annotated) {
    return verify_quantized(annotated, reference_, file_, images_, {.device = "cpu", .threads = 1});
  }

  graph::Graph reference_;
  graph::Graph annotated_;
  std::vector<Tensor> images_;
  std::filesystem::path file_ = folder_ / "q.onnx";
};

TEST_F(VerifyTest, EqualGraphPasses) { EXPECT_LT(verify(annotated_).worst_conv, 1e-5); }

TEST_F(VerifyTest, OtherScaleIsFoundAndNamed) {
  annotated_.quantization.at("model.4.cv1.conv").input->scale[0] *= 1.02F;
  EXPECT_THAT(error_of([&] { verify(annotated_); }), HasSubstr("model.4.cv1.conv"));
}

TEST_F(VerifyTest, OtherZeroPointIsFound) {
  // Far enough that the range no longer holds the largest values: a shift within the range changes
  // nothing.
  annotated_.quantization.at("model.2.cv2.conv").input->zero_point[0] += 40;
  EXPECT_THAT(error_of([&] { verify(annotated_); }), HasSubstr("model.2.cv2.conv"));
}

TEST_F(VerifyTest, OtherWeightsAreFound) {
  annotated_.parameters.at("model.8.cv2.conv.weight").mutable_data<float>()[0] += 0.5F;
  EXPECT_THAT(error_of([&] { verify(annotated_); }), HasSubstr("model.8.cv2.conv"));
}

// What no conv by itself shows: the wiring between them.
TEST_F(VerifyTest, OtherModelIsFound) {
  graph::Graph other = annotated_;
  for (graph::Node& node : other.nodes) {
    if (auto* act = std::get_if<graph::Activation>(&node.op);
        act != nullptr && act->kind == graph::ActivationKind::kSilu) {
      act->kind = graph::ActivationKind::kRelu;
    }
  }
  onnx::write(other, file_);
  EXPECT_THAT(error_of([&] { verify(annotated_); }),
              HasSubstr("does not compute what was quantized"));
}

TEST(DifferenceSum, Figures) {
  DifferenceSum sum;
  // One anchor, one class: boxes 4 rows, scores 1.
  const Tensor a = Tensor::from<float>({1, 5, 1}, std::vector<float>{1, 2, 3, 7, 0.5F});
  const Tensor b = Tensor::from<float>({1, 5, 1}, std::vector<float>{1, 2, 3, 4, 0.25F});
  sum.add(a, b, b);
  const OutputDifference d = sum.result();
  EXPECT_DOUBLE_EQ(d.max_box_pixels, 3);
  EXPECT_DOUBLE_EQ(d.mean_box_pixels, 0.75);
  EXPECT_DOUBLE_EQ(d.relative_box, std::sqrt(9.0 / 30.0));
  EXPECT_DOUBLE_EQ(d.max_score, 0.25);
  EXPECT_DOUBLE_EQ(d.relative_score, 1);
  const Tensor bad = Tensor::from<float>({1, 5, 1}, std::vector<float>{1, 2, 3, NAN, 0});
  sum.add(bad, b, b);
  EXPECT_TRUE(std::isnan(sum.result().relative_box));
  EXPECT_THROW(sum.add(a, Tensor(DType::kFloat32, {1, 5, 2}), b), Error);
}

}  // namespace
}  // namespace yoloquant::pipeline

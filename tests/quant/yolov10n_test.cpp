// The real model on real images.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "checkpoint/checkpoint.h"
#include "exec/executor.h"
#include "model/load.h"
#include "quant/image_calibration_data.h"
#include "quant/quantize.h"
#include "support/shared_data.h"

namespace yoloquant::quant {
namespace {

class Yolov10n : public testing::Test {
 protected:
  void SetUp() override {
    YQ_REQUIRE_SHARED();
    const auto shared = test::shared_data();
    model_ =
        model::from_checkpoint(checkpoint::read(shared / "weights" / "yolov10n.pt"), "yolov10n.pt");
    list_ = data::read_image_list(shared / "coco" / "calib100.txt");
  }

  QuantizationResult quantize(const std::string& yaml) {
    ImageCalibrationData images(data::ImageList(list_.begin(), list_.begin() + 8), {});
    return quantize_model(model_, graph::Head::kOneToMany, parse_config(yaml), images,
                          {.calibration = {.device = "cpu"}});
  }

  // Mean absolute error of the class scores against the float model, on images that were not used
  // for calibration, relative to their mean.
  double score_error(const graph::Graph& graph) {
    ImageCalibrationData images(data::ImageList(list_.begin() + 20, list_.begin() + 22), {});
    exec::Executor expected(graph::for_inference(model_, graph::Head::kOneToMany),
                            {.device = "cpu"});
    exec::Executor actual(graph, {.device = "cpu"});
    double difference = 0;
    double total = 0;
    images.for_each_batch(1, [&](const Tensor& image) {
      const Tensor a = actual.run(std::vector<Tensor>{image}).at(0);
      const Tensor b = expected.run(std::vector<Tensor>{image}).at(0);
      const auto anchors = static_cast<size_t>(a.dim(2));
      for (size_t i = 4 * anchors; i < static_cast<size_t>(a.size()); ++i) {
        difference += std::abs(a.data<float>()[i] - b.data<float>()[i]);
        total += b.data<float>()[i];
      }
    });
    return difference / total;
  }

  graph::Graph model_;
  data::ImageList list_;
};

TEST_F(Yolov10n, EightBitsAreCloseFourBitsLessTheReferencePresetNotAtAll) {
  std::map<std::string, double> error;
  for (const char* yaml :
       {"scheme: w8a16", "scheme: w8a8", "scheme: w4a16", "{scheme: w4a16, preset: reference}"}) {
    const auto result = quantize(yaml);
    EXPECT_EQ(result.layers.size(), result.graph.quantization.size());
    error[yaml] = score_error(result.graph);
  }
  EXPECT_LT(error["scheme: w8a16"], 0.1);
  EXPECT_LT(error["scheme: w8a8"], 0.4);
  EXPECT_GT(error["scheme: w4a16"], error["scheme: w8a8"]);
  EXPECT_GT(error["{scheme: w4a16, preset: reference}"], error["scheme: w4a16"]);
}

TEST_F(Yolov10n, RangesAfterSiluEndAtItsMinimum) {
  const auto result = quantize("{scheme: w8a8, defaults: {activation_range: minmax}}");
  const auto layer = [&](const std::string& conv) {
    return std::ranges::find(result.layers, conv, &LayerReport::conv);
  };
  EXPECT_EQ(layer("model.0.conv")->input->min, 0);
  EXPECT_EQ(layer("model.0.conv")->input->max, 1);
  EXPECT_NEAR(layer("model.1.conv")->input->min, -0.2785, 1e-3);
  const auto dfl = layer("model.23.dfl.conv");
  EXPECT_GE(dfl->input->min, 0);
  EXPECT_LE(dfl->input->max, 1);
}

}  // namespace
}  // namespace yoloquant::quant

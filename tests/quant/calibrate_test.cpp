#include "quant/calibrate.h"

#include <ATen/core/Tensor.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <limits>
#include <map>

#include "base/error.h"
#include "exec/executor.h"
#include "quant/activation_range.h"
#include "small_graph.h"
#include "support/error_of.h"

namespace yoloquant::quant {
namespace {

using test::error_of;
using testing::HasSubstr;

const std::vector<std::string> kConvs{"stem.conv", "left.conv", "right.conv", "last.conv"};

ActivationStatistics observe(CalibrationData& images, const CalibrationOptions& options) {
  return observe_activations(small_graph(), kConvs, images, options);
}

TEST(Calibrate, SeesTheExactExtremesOfEachInput) {
  MadeImages images(5, 32);
  const auto seen = observe(images, {.device = "cpu"});
  std::map<std::string, std::pair<float, float>> expected;
  exec::Executor executor(small_graph(), {.device = "cpu"});
  executor.set_tap(
      [&](const graph::Node& node, const std::vector<at::Tensor>& inputs,
          const std::vector<at::Tensor>&) {
        const at::Tensor values = inputs.at(0).contiguous();
        auto& [low, high] = expected.try_emplace(node.name, 1e9F, -1e9F).first->second;
        for (int64_t i = 0; i < values.numel(); ++i) {
          low = std::min(low, values.const_data_ptr<float>()[i]);
          high = std::max(high, values.const_data_ptr<float>()[i]);
        }
      },
      kConvs);
  images.for_each_batch(1, [&](const Tensor& image) { executor.run(std::vector<Tensor>{image}); });
  for (const std::string& conv : kConvs) {
    EXPECT_EQ(seen.at(conv).min(), expected.at(conv).first) << conv;
    EXPECT_EQ(seen.at(conv).max(), expected.at(conv).second) << conv;
  }
  EXPECT_EQ(seen.at("left.conv").count(), 5U * 16 * 32 * 32);
  EXPECT_LT(seen.at("left.conv").min(), -0.2F);
}

TEST(Calibrate, DoesNotDependOnWorkers) {
  MadeImages images(7, 32);
  const auto one = observe(images, {.device = "cpu", .workers = 1});
  const auto three = observe(images, {.device = "cpu", .workers = 3});
  for (const std::string& conv : kConvs) {
    EXPECT_EQ(one.at(conv).min(), three.at(conv).min());
    EXPECT_EQ(one.at(conv).max(), three.at(conv).max());
    EXPECT_EQ(one.at(conv).count(), three.at(conv).count());
    const auto a = one.at(conv).histogram().bins();
    const auto b = three.at(conv).histogram().bins();
    ASSERT_EQ(a.size(), b.size());
    for (size_t i = 0; i < a.size(); ++i) {
      EXPECT_EQ(a[i].low, b[i].low);
      EXPECT_EQ(a[i].count, b[i].count);
    }
  }
}

TEST(Calibrate, DoesNotDependOnTheBatch) {
  MadeImages images(7, 32);
  const auto one = observe(images, {.batch = 1, .device = "cpu"});
  const auto four = observe(images, {.batch = 4, .device = "cpu"});
  for (const std::string& conv : kConvs) {
    EXPECT_NEAR(one.at(conv).min(), four.at(conv).min(), 1e-5) << conv;
    EXPECT_NEAR(one.at(conv).max(), four.at(conv).max(), 1e-5) << conv;
    EXPECT_EQ(one.at(conv).count(), four.at(conv).count());
    EXPECT_EQ(one.at(conv).histogram().total(), four.at(conv).histogram().total());
    const auto a = mse_range(one.at(conv), 8, false);
    const auto b = mse_range(four.at(conv), 8, false);
    EXPECT_NEAR(a.high, b.high, 0.02 * b.high) << conv;
  }
}

TEST(Calibrate, UsesTheFirstImagesWhenAskedForFewer) {
  MadeImages images(6, 32);
  MadeImages fewer(2, 32);
  const auto a = observe(images, {.device = "cpu", .max_images = 2});
  const auto b = observe(fewer, {.device = "cpu"});
  EXPECT_EQ(a.at("last.conv").max(), b.at("last.conv").max());
  EXPECT_EQ(a.at("last.conv").count(), b.at("last.conv").count());
}

// Bytes of this process now in memory.
int64_t resident_bytes() {
  std::ifstream file("/proc/self/statm");
  int64_t pages = 0;
  file >> pages >> pages;
  return pages * 4096;
}

TEST(Calibrate, MemoryDoesNotGrowWithTheImages) {
  MadeImages few(10, 128);
  MadeImages many(150, 128);
  observe(few, {.device = "cpu"});
  const int64_t before = resident_bytes();
  observe(many, {.device = "cpu"});
  // One image's activations are 3 MB; all of them would be 450 MB.
  EXPECT_LT(resident_bytes() - before, int64_t{40} << 20);
}

TEST(Calibrate, AnnotatesInputsAsTheSettingsSay) {
  graph::Graph graph = small_graph();
  QuantizationConfig config = parse_config(R"(
defaults: {activation_range: minmax}
layers:
  - {match: stem, activation_bits: 16}
  - {match: right, symmetric: true, activation_bits: 6}
  - {match: last, skip: true}
)");
  graph.quantization["stem.conv"].input = graph::Quantizer{8, 0, 255, -1, {1}, {0}};
  MadeImages images(2, 32);
  calibrate_activations(graph, config, images, {.device = "cpu"});
  EXPECT_FALSE(graph.quantization.at("stem.conv").input);
  EXPECT_FALSE(graph.quantization.contains("last.conv"));
  const auto& left = *graph.quantization.at("left.conv").input;
  const auto& right = *graph.quantization.at("right.conv").input;
  EXPECT_EQ(left.qmax, 255);
  EXPECT_GT(left.zero_point[0], 0);
  EXPECT_EQ(right.qmin, -32);
  EXPECT_EQ(right.qmax, 31);
  EXPECT_EQ(right.zero_point[0], 0);
  // Both see one value: symmetric codes hold its largest magnitude, the others its extent.
  const float high = right.scale[0] * 31;
  EXPECT_NEAR(left.scale[0] * static_cast<float>(255 - left.zero_point[0]), high, left.scale[0]);
}

TEST(Calibrate, ErrorsNameThePlace) {
  MadeImages none(0, 32);
  EXPECT_THAT(error_of([&] { observe(none, {}); }), HasSubstr("at least one image"));
  MadeImages images(1, 32);
  EXPECT_THAT(error_of([&] { observe_activations(small_graph(), {"x.conv"}, images, {}); }),
              HasSubstr("no conv 'x.conv'"));
  Tensor bad(DType::kFloat32, {1, 3, 32, 32});
  bad.mutable_data<float>()[5] = std::numeric_limits<float>::quiet_NaN();
  MemoryCalibrationData with_nan(bad);
  EXPECT_THAT(error_of([&] { observe(with_nan, {.device = "cpu"}); }),
              HasSubstr("input of stem.conv: an activation is NaN"));
}

TEST(MemoryCalibrationData, GivesBatchesInOrder) {
  MemoryCalibrationData images(random_tensor({5, 3, 2, 2}, 1, 0, 1));
  std::vector<int64_t> sizes;
  std::vector<float> first;
  images.for_each_batch(1, 4, 2, [&](const Tensor& batch) {
    sizes.push_back(batch.dim(0));
    first.push_back(batch.data<float>()[0]);
  });
  const Tensor all = random_tensor({5, 3, 2, 2}, 1, 0, 1);
  EXPECT_EQ(sizes, (std::vector<int64_t>{2, 1}));
  EXPECT_EQ(first, (std::vector<float>{all.data<float>()[12], all.data<float>()[36]}));
  EXPECT_THROW(MemoryCalibrationData(Tensor(DType::kFloat32, {3, 2, 2})), Error);
}

}  // namespace
}  // namespace yoloquant::quant

#include "pipeline/sensitivity.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "pipeline/harm_record.h"
#include "pipeline/quantize.h"
#include "pipeline/small_run.h"
#include "support/error_of.h"

namespace yoloquant::pipeline {
namespace {

using test::error_of;
using testing::HasSubstr;

std::string usage_error_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), Error::Kind::kUsage) << error.what();
    return error.what();
  }
  return "";
}

// Lists the tasks and ends the work when one begins, as an interruption does.
class Tasks : public Progress {
 public:
  explicit Tasks(std::string last = "-") : last_(std::move(last)) {}
  void start(std::string_view task, int64_t /*total*/) override {
    names_.emplace_back(task);
    if (task.starts_with(last_)) fail("interrupted");
  }
  void update(int64_t /*done*/, std::string_view /*note*/) override {}
  void finish() override {}
  const std::vector<std::string>& names() const { return names_; }

 private:
  std::string last_;
  std::vector<std::string> names_;
};

class SensitivityTest : public testing::Test {
 protected:
  SensitivityTest() : data_(test::write_small_data(folder_.path())) {
    model_ = load_model(
        "yolov10n.yaml",
        {.class_count = 3, .image_height = test::kSmallSize, .image_width = test::kSmallSize});
    options_.calibration.source = data_ / "train2017";
    options_.calibration.images = 2;
    options_.config.scheme = quant::parse_scheme("w4a16");
    options_.images = 1;
    options_.bits = {4, 8};
    options_.activations = options_.blocks = options_.fidelity = false;
    options_.device = "cpu";
    options_.threads = 1;
  }
  SensitivityResult measure() { return measure_sensitivity(model_, folder_ / "out", options_); }
  QuantizeOptions choosing_bits(const std::string& config) const {
    QuantizeOptions quantize;
    quantize.config = quant::parse_config(config);
    quantize.calibration = options_.calibration;
    quantize.sensitivity_images = 1;
    quantize.device = "cpu";
    quantize.verify_images = 1;
    return quantize;
  }
  nlohmann::json written(const std::string& name) const {
    return nlohmann::json::parse(read_file(folder_ / "out" / name));
  }

  test::TemporaryFolder folder_;
  std::filesystem::path data_;
  LoadedModel model_;
  SensitivityOptions options_;
};

TEST_F(SensitivityTest, MeasuresEveryConvAndBlock) {
  options_.activations = options_.blocks = options_.fidelity = true;
  options_.coco_root = data_;
  options_.max_images = 1;
  const SensitivityResult result = measure();
  size_t convs = 0;
  size_t blocks = 0;
  for (const report::SensitivityRow& row : result.report.rows) {
    (row.block ? blocks : convs) += 1;
    EXPECT_GE(row.harm, 0) << row.name;
    EXPECT_TRUE(row.map.has_value());
  }
  EXPECT_EQ(convs, 84U * 4);
  EXPECT_GT(blocks, 40U * 4);
  const auto json = written("sensitivity.json");
  EXPECT_EQ(json.at("measurements").size(), result.report.rows.size());
  EXPECT_EQ(json.at("labelled_images"), 1);
  EXPECT_EQ(json.at("measurements")[0].at("name"), "model.0.conv");
  for (const char* name : {"sensitivity.csv", "sensitivity.md", "sensitivity.svg"}) {
    EXPECT_THAT(read_file(folder_ / "out" / name), HasSubstr("model.")) << name;
  }
  EXPECT_FALSE(std::filesystem::exists(folder_ / "out/mixed.yaml"));
}

TEST_F(SensitivityTest, QuantizeTakesTheRulesAndKeepsTheBudget) {
  options_.budget.mean_bits = 5;
  const SensitivityResult result = measure();
  ASSERT_TRUE(result.mixed);
  EXPECT_LE(result.mixed->mean_bits, 5);
  EXPECT_GT(result.mixed->mean_bits, 4.9);
  EXPECT_EQ(result.mixed->gap, 0);
  EXPECT_EQ(result.mixed->layers.size(), 84U);
  ASSERT_EQ(result.mixed->uniform.size(), 2U);
  EXPECT_LT(result.mixed->harm, result.mixed->uniform[0].harm);
  EXPECT_GT(result.mixed->harm, result.mixed->uniform[1].harm);

  QuantizeOptions quantize;
  quantize.config = quant::read_config(folder_ / "out/mixed.yaml");
  quantize.device = "cpu";
  quantize.verify_images = 1;
  const QuantizeResult made = quantize_onnx(model_, folder_ / "q.onnx", quantize);
  EXPECT_NEAR(quant::mean_weight_bits(made.layers), result.mixed->mean_bits, 1e-9);
  for (size_t i = 0; i < made.layers.size(); ++i) {
    const MixedLayer& planned = result.mixed->layers[i];
    EXPECT_EQ(made.layers[i].conv, planned.conv);
    if (!planned.fixed) {
      EXPECT_EQ(made.layers[i].bits, planned.bits);
    }
  }
}

TEST_F(SensitivityTest, QuantizeChoosesBitsByItself) {
  QuantizeOptions quantize = choosing_bits(
      "{scheme: w4a16, layers: [{match: model.0, weight_bits: 6}, {match: model.1, skip: true}]}");
  quantize.bit_budget.mean_bits = 4.4;
  const QuantizeResult made = quantize_onnx(model_, folder_ / "q.onnx", quantize);
  ASSERT_TRUE(made.mixed);
  EXPECT_LE(quant::mean_weight_bits(made.layers), 4.4);
  EXPECT_NEAR(quant::mean_weight_bits(made.layers), made.mixed->mean_bits, 1e-9);
  EXPECT_EQ(made.layers[0].bits, 6) << "the user's rule";
  EXPECT_EQ(made.layers[1].bits, 0) << "skipped";
}

TEST_F(SensitivityTest, BitsAreMeasuredOnceWhateverIsInterrupted) {
  QuantizeOptions quantize = choosing_bits(
      "{scheme: w4a16, method: gptq,"
      " layers: [{match: '*', skip: true}, {match: model.2, skip: false}]}");
  quantize.bit_budget.max_harm = 0.01;
  const std::filesystem::path out = folder_ / "q.onnx";
  Tasks first("rounding weights");
  EXPECT_THROW(quantize_onnx(model_, out, quantize, first), Error);
  EXPECT_THAT(first.names(), testing::Contains("rounding each layer by itself"));
  ASSERT_TRUE(std::filesystem::exists(folder_ / "q.onnx.harms"));

  quantize.resume = true;
  quantize.bit_budget.max_harm = 0.02;
  EXPECT_THAT(error_of([&] { quantize_onnx(model_, out, quantize, Progress::none()); }),
              HasSubstr("other settings"));
  quantize.bit_budget.max_harm = 0.01;
  Tasks second;
  const QuantizeResult resumed = quantize_onnx(model_, out, quantize, second);
  EXPECT_THAT(second.names(), testing::Not(testing::Contains("rounding each layer by itself")));
  EXPECT_THAT(second.names(), testing::Not(testing::Contains("measuring")));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "q.onnx.harms"));

  quantize.resume = false;
  const QuantizeResult whole = quantize_onnx(model_, folder_ / "whole.onnx", quantize);
  EXPECT_EQ(read_file(out), read_file(folder_ / "whole.onnx"));
}

TEST_F(SensitivityTest, DamagedHarmsAreRefused) {
  const HarmRecord record(folder_ / "harms", "this run");
  EXPECT_FALSE(record.read(2));
  record.write(std::vector<double>{0.5, 2});
  EXPECT_EQ(record.read(2), (std::vector<double>{0.5, 2}));
  EXPECT_THAT(error_of([&] { record.read(3); }), HasSubstr("does not fit"));
  const std::string text = read_file(folder_ / "harms");
  for (const std::string& damaged :
       {text.substr(0, text.size() / 2), std::string("[1]"), std::string(R"({"harms": 1})")}) {
    write_file(folder_ / "harms", damaged);
    EXPECT_THAT(error_of([&] { record.read(2); }), HasSubstr("damaged")) << damaged;
  }
  write_file(folder_ / "harms", R"({"fingerprint": "this run", "harms": [1, -1]})");
  EXPECT_THAT(error_of([&] { record.read(2); }), HasSubstr("does not fit"));
}

TEST_F(SensitivityTest, LayersAreRoundedAsAskedFor) {
  const auto harm_of_first = [&](quant::Rounding rounding) {
    options_.rounding = rounding;
    return measure().report.rows.at(0).harm;
  };
  const double nearest = harm_of_first(quant::Rounding::kNearest);
  EXPECT_NE(harm_of_first(quant::Rounding::kGptq), nearest);
  EXPECT_EQ(written("sensitivity.json").at("rounding"), "gptq");
  EXPECT_THAT(read_file(folder_ / "out" / "sensitivity.md"), HasSubstr("rounded by gptq"));
  options_.config.method = "bias";
  EXPECT_THAT(usage_error_of([&] { measure(); }), HasSubstr("--rounding"));
}

TEST_F(SensitivityTest, LayersOfAQuantizedModelAreRaised) {
  options_.config.method = "gptq";
  options_.budget.bytes = 1.4e6;
  const SensitivityResult result = measure();
  ASSERT_TRUE(result.report.base_harm);
  EXPECT_GT(*result.report.base_harm, 0);
  double best = 0;
  for (const report::SensitivityRow& row : result.report.rows) {
    ASSERT_TRUE(row.gain);
    EXPECT_NEAR(*row.gain, *result.report.base_harm - row.harm, 1e-9);
    if (row.bits == 4) {
      EXPECT_NEAR(*row.gain, 0, 1e-6) << row.name;
    }
    best = std::max(best, *row.gain);
  }
  EXPECT_GT(best, 0);
  EXPECT_LE(result.mixed->bytes, 1'400'000);
  EXPECT_THAT(read_file(folder_ / "out/mixed.yaml"), HasSubstr("method: gptq"));
}

TEST_F(SensitivityTest, WrongUsageIsSaid) {
  const auto error = [&](const std::function<void(SensitivityOptions&)>& spoil) {
    const SensitivityOptions before = options_;
    spoil(options_);
    const std::string what = usage_error_of([&] { measure(); });
    options_ = before;
    return what;
  };
  EXPECT_THAT(error([](auto& o) { o.bits = {9}; }), HasSubstr("--bits 9"));
  EXPECT_THAT(error([](auto& o) { o.bits = {}; }), HasSubstr("--bits"));
  EXPECT_THAT(error([](auto& o) { o.calibration.source.clear(); }), HasSubstr("--calib"));
  EXPECT_THAT(error([](auto& o) { o.budget = {.mean_bits = 4, .bytes = 1e6, .max_harm = {}}; }),
              HasSubstr("--mean-bits, --size"));
  EXPECT_THAT(error([](auto& o) { o.budget.mean_bits = 2; }), HasSubstr("the least is 4"));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "out"));
}

TEST(ByteSize, HasUnits) {
  EXPECT_EQ(parse_byte_size("1.6MB"), 1.6e6);
  EXPECT_EQ(parse_byte_size("800 kB"), 8e5);
  EXPECT_EQ(parse_byte_size("1.5MiB"), 1.5 * 1048576);
  EXPECT_EQ(parse_byte_size("1000"), 1000);
  for (const char* bad : {"", "MB", "-1MB", "0", "1.6 parsecs", "nan", "inf"}) {
    EXPECT_THAT(usage_error_of([&] { parse_byte_size(bad); }), HasSubstr("1.6MB")) << bad;
  }
}

}  // namespace
}  // namespace yoloquant::pipeline

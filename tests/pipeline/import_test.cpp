#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>

#include "base/error.h"
#include "base/file.h"
#include "base/random.h"
#include "exec/executor.h"
#include "onnx/check.h"
#include "onnx/edit.h"
#include "pipeline/detector.h"
#include "pipeline/export.h"
#include "pipeline/load_model.h"
#include "pipeline/quantize.h"
#include "pipeline/small_run.h"
#include "runtime/session.h"
#include "support/shared_data.h"

// Detectors that PyTorch's exporter wrote (support/export_detectors.py).
namespace yoloquant::pipeline {
namespace {

namespace fs = std::filesystem;
using testing::Contains;
using testing::HasSubstr;

constexpr int64_t kSize = 64;  // of export_detectors.py

// Made once, and again when the script changes.
fs::path detectors() {
  const fs::path script = test::source_folder() / "tests/support/export_detectors.py";
  const fs::path folder =
      test::build_folder() / "tests/detectors" / sha256_of_file(script).substr(0, 16);
  if (fs::exists(folder)) return folder;
  const test::TemporaryFolder made;
  std::string output;
  const std::string command =
      fmt::format("{} {} {}", test::python(), script.string(), made.path().string());
  if (test::run_command(command, &output) != 0) fail("{}", output);
  fs::create_directories(folder.parent_path());
  const fs::path temporary = folder.string() + fmt::format(".{}", getpid());
  fs::copy(made.path(), temporary);
  std::error_code error;  // another test may have been faster
  fs::rename(temporary, folder, error);
  if (error) fs::remove_all(temporary);
  return folder;
}

class ImportTest : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    if (test::python().empty()) GTEST_SKIP() << "needs the Python packages of scripts/setup.sh";
    path_ = detectors() / (std::string(GetParam()) + ".onnx");
  }
  LoadedModel load() const {
    return load_model(path_.string(), {.image_height = kSize, .image_width = kSize});
  }
  static Tensor image() {
    Random random(5);
    Tensor tensor(DType::kFloat32, {1, 3, kSize, kSize});
    for (float& value : tensor.mutable_data<float>()) value = random.uniform(0, 1);
    return tensor;
  }
  static Tensor run_file(const fs::path& path) {
    runtime::Session session(path, {.provider = runtime::Provider::kCpu, .threads = 1});
    return session.run({image()}).at(0).to_float32();  // PyTorch may trace sizes in double
  }
  static void expect_equal(const Tensor& a, const Tensor& b) {
    ASSERT_EQ(a.shape(), b.shape());
    const auto left = a.data<float>();
    const auto right = b.data<float>();
    float worst = 0;
    float largest = 1;
    for (size_t i = 0; i < left.size(); ++i) {
      worst = std::max(worst, std::abs(left[i] - right[i]));
      largest = std::max(largest, std::abs(right[i]));
    }
    EXPECT_LT(worst / largest, 1e-4F);
    EXPECT_GT(largest, 2) << "the outputs say nothing";
  }

  fs::path path_;
  test::TemporaryFolder folder_;
};

TEST_P(ImportTest, GraphAndItsExportComputeWhatTheFileDoes) {
  const LoadedModel model = load();
  const Tensor expected = run_file(path_);
  exec::Executor executor(model.graph, {.device = "cpu"});
  expect_equal(executor.run(std::vector<Tensor>{image()}).at(0), expected);
  const fs::path again = folder_ / "again.onnx";
  export_onnx(model, again, {});
  expect_equal(run_file(again), expected);
  for (const std::string& name : graph::conv_names(model.graph)) {
    EXPECT_TRUE(name.starts_with("model.") || name.starts_with("p") || name.starts_with("n") ||
                name.starts_with("head."))
        << name;
    EXPECT_EQ(name.find('/'), std::string::npos) << name;
  }
}

TEST_P(ImportTest, QuantizesAndAgreesWithTheSimulator) {
  QuantizeOptions options;
  options.calibration.source = test::write_small_data(folder_.path()) / "train2017";
  options.calibration.images = 2;
  options.device = "cpu";
  options.threads = 1;
  options.verify_images = 1;
  const LoadedModel model = load();
  const auto convs = static_cast<int64_t>(graph::conv_names(model.graph).size());
  for (const char* scheme : {"w8a8", "w4a16"}) {
    options.config.scheme = quant::parse_scheme(scheme);
    const QuantizeResult result = quantize_onnx(model, folder_ / "q.onnx", options);
    EXPECT_EQ(result.verification.convs, convs);
    EXPECT_LT(result.verification.worst_conv, 1e-5);
    EXPECT_EQ(result.check.op_counts.at("Clip"), convs);
    EXPECT_GT(result.verification.quantization.relative_box, 1e-5);
    // The DFL projection, 0..15, is found by its values.
    const auto is_dfl = [](const quant::LayerReport& layer) { return layer.lossless; };
    EXPECT_EQ(std::ranges::count_if(result.layers, is_dfl),
              path_.stem().string().starts_with("v5") ? 0 : 1);
  }
  const OutputKind kind = output_kind(folder_ / "q.onnx");
  EXPECT_EQ(kind.rows, path_.stem().string().starts_with("v5"));
  EXPECT_EQ(kind.head == graph::Head::kEndToEnd, path_.stem().string().starts_with("v10"));
}

INSTANTIATE_TEST_SUITE_P(Exports, ImportTest,
                         testing::Values("v5_11", "v5_17_dynamic", "v8_11_norms", "v8_13",
                                         "v8_20_dynamic", "v10_13", "v10_17_norms", "v11_17",
                                         "v11_20_norms", "v11_13_dynamic", "strange_17"),
                         [](const auto& made) { return std::string(made.param); });

class ImportDetails : public ImportTest {};

TEST_P(ImportDetails, UnknownOperatorsPassThrough) {
  const LoadedModel model = load();
  EXPECT_THAT(model.warnings, Contains(HasSubstr("1 Einsum")));
  export_onnx(model, folder_ / "again.onnx", {});
  const onnx::CheckReport before = onnx::check(path_);
  const onnx::CheckReport after = onnx::check(folder_ / "again.onnx");
  EXPECT_EQ(after.opset, 17);  // not the default 13: they are opset 17's
  for (const char* op : {"Einsum", "Erf", "ConvTranspose", "CumSum", "AveragePool"}) {
    EXPECT_EQ(after.op_counts.at(op), before.op_counts.at(op)) << op;
  }
  export_onnx(model, folder_ / "newer.onnx", {.opset = 21});
  EXPECT_EQ(onnx::check(folder_ / "newer.onnx").opset, 21);
  EXPECT_THROW(export_onnx(model, folder_ / "d.onnx", {.dynamic = true}), Error);
}

TEST_P(ImportDetails, SizesAreSaidAndChecked) {
  const std::string fixed = path_.string();
  EXPECT_THROW(load_model(fixed, {.image_height = 128, .image_width = 128}), Error);
  const std::string dynamic = (detectors() / "v8_20_dynamic.onnx").string();
  const LoadedModel model = load_model(dynamic, {.image_height = 96, .image_width = 160});
  EXPECT_EQ(model.graph.values[0].shape, Shape({1, 3, 96, 160}));
  EXPECT_THAT(model.warnings, Contains(HasSubstr("[1, 3, 96, 160]")));
  EXPECT_EQ(load_model(dynamic).graph.values[0].shape, Shape({1, 3, 640, 640}));
  EXPECT_EQ(model.class_count(), 3);
}

TEST_P(ImportDetails, OfSeveralOutputsTheDetectionsAreKept) {
  const std::string bytes = read_file(detectors() / "v8_11_norms.onnx");
  std::string feature;
  for (const auto& output : onnx::node_outputs(bytes)) {
    if (output.op == "MaxPool") feature = output.value;
  }
  const fs::path two = folder_ / "two.onnx";
  write_file(two, onnx::with_outputs(bytes, {feature, "output0"}));
  const LoadedModel model = load_model(two.string());
  ASSERT_EQ(model.graph.outputs.size(), 1U);
  EXPECT_EQ(model.graph.values[model.graph.outputs[0]].name, "output0");
  EXPECT_THAT(model.warnings, Contains(HasSubstr("only 'output0'")));
  write_file(two, onnx::with_outputs(bytes, {feature, feature}));
  EXPECT_THROW(load_model(two.string()), Error);
}

INSTANTIATE_TEST_SUITE_P(Strange, ImportDetails, testing::Values("strange_17"));

}  // namespace
}  // namespace yoloquant::pipeline

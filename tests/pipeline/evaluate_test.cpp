#include "pipeline/evaluate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "eval/detections_json.h"
#include "pipeline/bench.h"
#include "pipeline/export.h"
#include "pipeline/predict.h"
#include "pipeline/small_run.h"
#include "support/error_of.h"
#include "support/shared_data.h"

namespace yoloquant::pipeline {
namespace {

using graph::Head;
using test::error_of;
using testing::ElementsAre;
using testing::HasSubstr;

class EvaluateTest : public testing::Test {
 protected:
  EvaluateTest()
      : definition_(test::write_small_definition(folder_.path())),
        data_(test::write_small_data(folder_.path())) {}

  std::filesystem::path exported(const std::string& name, const ExportOptions& options) {
    const LoadedModel model = load_model(
        definition_.string(), {.image_height = test::kSmallSize, .image_width = test::kSmallSize});
    return export_onnx(model, folder_ / (name + ".onnx"), options).path;
  }
  EvalResult evaluate(const std::filesystem::path& model, const EvalOptions& options) {
    return evaluate_model(model.string(), folder_ / "out", options);
  }

  test::TemporaryFolder folder_;
  std::filesystem::path definition_;
  std::filesystem::path data_;
};

std::vector<std::string> keys(const nlohmann::ordered_json& object) {
  std::vector<std::string> result;
  for (const auto& [key, value] : object.items()) result.push_back(key);
  return result;
}

TEST_F(EvaluateTest, MetricsFileHasTheAgreedKeys) {
  EvalOptions options = test::small_eval(data_);
  options.max_images = 2;
  options.skip_latency = false;
  options.latency_runs = 3;
  options.warmup_runs = 1;
  const EvalResult result = evaluate(definition_, options);
  const auto json = nlohmann::ordered_json::parse(read_file(result.metrics_path));
  EXPECT_THAT(keys(json),
              ElementsAre("onnx_path", "data_root", "instances", "images_dir", "providers", "imgsz",
                          "max_images", "warmup_runs", "skip_latency", "conf", "iou", "max_det",
                          "pre_nms_topk", "metrics", "latency", "yoloquant"));
  EXPECT_THAT(keys(json["metrics"]),
              ElementsAre("mAP_50_95", "mAP_50", "mAP_75", "mAP_small", "mAP_medium", "mAP_large",
                          "num_images", "num_detections"));
  EXPECT_THAT(keys(json["latency"]),
              ElementsAre("mean_ms", "median_ms", "p90_ms", "throughput_fps"));
  EXPECT_EQ(json["providers"], nlohmann::ordered_json({"CPUExecutionProvider"}));
  EXPECT_EQ(json["imgsz"], 64);
  EXPECT_EQ(json["max_images"], 2);
  EXPECT_EQ(json["metrics"]["num_images"], 2);
  EXPECT_EQ(json["conf"].dump(), "0.001");
  EXPECT_EQ(json["iou"].dump(), "0.7");
  EXPECT_GT(json["latency"]["mean_ms"], 0);
  EXPECT_EQ(json["yoloquant"]["head"], "one2many");
  EXPECT_EQ(json["yoloquant"]["image_ids"].size(), 2U);
  // The figures are those of the detections file.
  const auto detections = eval::read_detections(result.detections_path);
  EXPECT_EQ(json["metrics"]["num_detections"], detections.size());
  EXPECT_GT(detections.size(), 0U);
  std::ifstream table(result.per_class_path);
  size_t lines = 0;
  for (std::string line; std::getline(table, line);) ++lines;
  EXPECT_EQ(lines, 1 + data::shape_names().size());
}

TEST_F(EvaluateTest, SkippedLatencyIsNull) {
  const EvalResult result = evaluate(definition_, test::small_eval(data_));
  const auto json = nlohmann::json::parse(read_file(result.metrics_path));
  EXPECT_TRUE(json["latency"].is_null());
  EXPECT_TRUE(json["skip_latency"]);
}

TEST_F(EvaluateTest, DefinitionAndItsExportScoreTheSame) {
  const EvalOptions options = test::small_eval(data_);
  const EvalResult direct = evaluate(definition_, options);
  const std::string detections = read_file(direct.detections_path);
  const EvalResult exported_result = evaluate(exported("m", {}), options);
  EXPECT_EQ(read_file(exported_result.detections_path), detections);
}

// The last batch is not full: three images in batches of two.
TEST_F(EvaluateTest, BatchesAndDynamicSizesScoreTheSame) {
  const EvalOptions options = test::small_eval(data_);
  const std::string one = read_file(evaluate(exported("one", {}), options).detections_path);
  EXPECT_EQ(read_file(evaluate(exported("two", {.batch = 2}), options).detections_path), one);
  EXPECT_EQ(read_file(evaluate(exported("any", {.dynamic = true}), options).detections_path), one);
}

// At 160 pixels there are more anchors (525) than detections, as in real use.
TEST_F(EvaluateTest, HeadComesFromTheFile) {
  EvalOptions options = test::small_eval(data_);
  options.image_height = options.image_width = 160;
  const auto one2one =
      exported("one", {.head = Head::kOneToOne, .image_height = 160, .image_width = 160});
  const auto end2end =
      exported("e2e", {.head = Head::kEndToEnd, .image_height = 160, .image_width = 160});
  EXPECT_EQ(output_kind(one2one).head, Head::kOneToOne);
  EXPECT_EQ(output_kind(end2end).head, Head::kEndToEnd);
  const EvalResult a = evaluate(one2one, options);
  const EvalResult b = evaluate(end2end, options);
  EXPECT_EQ(a.head, Head::kOneToOne);
  EXPECT_EQ(b.head, Head::kEndToEnd);
  EXPECT_EQ(a.coco.num_detections, b.coco.num_detections);
  EXPECT_NEAR(a.coco.figures.ap, b.coco.figures.ap, 1e-6);
  options.head = Head::kOneToMany;
  EXPECT_THAT(error_of([&] { evaluate(one2one, options); }), HasSubstr("holds the one2one head"));
  EXPECT_THAT(error_of([&] { evaluate(end2end, options); }), HasSubstr("end to end"));
}

TEST_F(EvaluateTest, ClassCountsMustAgree) {
  EvalOptions options = test::small_eval(data_);
  const std::string message = error_of([&] { evaluate("yolov10n.yaml", options); });
  EXPECT_THAT(message, HasSubstr("80 classes"));
  EXPECT_THAT(message, HasSubstr("6 categories"));
}

TEST_F(EvaluateTest, BadRequests) {
  EvalOptions options = test::small_eval(data_);
  options.image_ids = {987654};
  EXPECT_THAT(error_of([&] { evaluate(definition_, options); }), HasSubstr("987654"));
  options = test::small_eval(data_);
  options.image_height = 96;
  EXPECT_THAT(error_of([&] { evaluate(exported("m", {}), options); }), HasSubstr("fixed at 64"));
  write_file(folder_ / "no.onnx", "no model");
  EXPECT_THAT(error_of([&] { evaluate(folder_ / "no.onnx", options); }), HasSubstr("no.onnx"));
}

TEST_F(EvaluateTest, PredictWritesAllForms) {
  PredictOptions options;
  options.conf = 0.01F;
  options.image_height = options.image_width = test::kSmallSize;
  options.provider = runtime::Provider::kCpu;
  const PredictResult result =
      predict(definition_.string(), data_ / "val2017", folder_ / "out", options);
  ASSERT_EQ(result.images.size(), 3U);
  const ImagePredictions& first = result.images[0];
  ASSERT_FALSE(first.predictions.empty());
  EXPECT_EQ(first.width, 96);
  const std::string stem = first.image.stem().string();
  EXPECT_EQ(data::read_image(folder_ / "out/images" / (stem + ".jpg")).width, 96);
  const std::string txt = read_file(folder_ / "out/labels" / (stem + ".txt"));
  EXPECT_EQ(std::count(txt.begin(), txt.end(), '\n'),
            static_cast<ptrdiff_t>(first.predictions.size()));
  const auto json = nlohmann::json::parse(read_file(result.json_path));
  ASSERT_EQ(json.size(), 3U);
  EXPECT_EQ(json[0]["predictions"].size(), first.predictions.size());
  for (const Prediction& p : first.predictions) {
    EXPECT_GE(p.box.x1, 0);
    EXPECT_LE(p.box.x2, 96);
    EXPECT_LE(p.box.y2, 80);
    EXPECT_GT(p.score, 0.01);
  }
}

TEST_F(EvaluateTest, PredictNumbersEqualStems) {
  std::filesystem::path image;
  for (const auto& entry : std::filesystem::directory_iterator(data_ / "val2017")) image = entry;
  for (const char* place : {"a", "b"}) {
    std::filesystem::create_directories(folder_ / place);
    std::filesystem::copy_file(image, folder_ / place / "same.jpg");
  }
  write_file(folder_ / "list.txt", "a/same.jpg\nb/same.jpg\n");
  PredictOptions options;
  options.image_height = options.image_width = test::kSmallSize;
  predict(definition_.string(), folder_ / "list.txt", folder_ / "out", options);
  EXPECT_TRUE(std::filesystem::exists(folder_ / "out/images/same.jpg"));
  EXPECT_TRUE(std::filesystem::exists(folder_ / "out/images/same_2.jpg"));
}

TEST_F(EvaluateTest, BenchComparesFilesOfOneInputSize) {
  const auto a = exported("a", {});
  const auto b = exported("b", {.dynamic = true});
  BenchOptions options{.runs = 5, .warmup_runs = 1};
  options.image_height = options.image_width = test::kSmallSize;
  options.provider = runtime::Provider::kCpu;
  const auto rows = bench({a, b}, options);
  ASSERT_EQ(rows.size(), 2U);
  EXPECT_EQ(rows[0].ratio.median, 1);
  EXPECT_GT(rows[1].ratio.median, 0);
  EXPECT_EQ(rows[1].latency.runs_ms.size(), 5U);
  EXPECT_EQ(bench_json(rows)[1]["path"], b.string());
  EXPECT_THAT(error_of([&] { bench({a, exported("c", {.batch = 2})}, options); }),
              HasSubstr("one input size"));
  EXPECT_THROW(bench({}, options), Error);
}

// The golden detections are pycocotools' and Ultralytics' on the same images.
TEST(EvaluateReal, FirstImagesScoreAsTheGoldenDetections) {
  YQ_REQUIRE_SHARED();
  const test::TemporaryFolder folder;
  const auto shared = test::shared_data();
  EvalOptions options;
  options.coco_root = shared / "coco";
  options.max_images = 4;
  options.skip_latency = true;
  options.bootstrap_resamples = 0;
  const EvalResult result =
      evaluate_model((shared / "weights/yolov10n.pt").string(), folder.path(), options);
  const auto dataset = data::CocoDataset::open(options.coco_root, "val2017");
  const auto golden = eval::read_detections(shared / "golden/coco50_one2many_detections.json");
  const auto wanted = eval::evaluate_coco(dataset, dataset.first_image_ids(4), golden);
  EXPECT_EQ(result.coco.num_detections, wanted.num_detections);
  EXPECT_NEAR(result.coco.figures.ap, wanted.figures.ap, 1e-3);
  EXPECT_NEAR(result.coco.figures.ap50, wanted.figures.ap50, 1e-3);
  EXPECT_GT(result.coco.figures.ap, 0.3);
}

}  // namespace
}  // namespace yoloquant::pipeline

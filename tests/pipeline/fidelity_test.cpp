#include "pipeline/fidelity.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/text.h"
#include "data/image_list.h"
#include "pipeline/evaluate.h"
#include "pipeline/export.h"
#include "pipeline/small_run.h"

namespace yoloquant::pipeline {
namespace {

namespace fs = std::filesystem;
using graph::Head;
using testing::HasSubstr;

class FidelityTest : public testing::Test {
 protected:
  FidelityTest()
      : definition_(test::write_small_definition(folder_.path())),
        data_(test::write_small_data(folder_.path())) {}

  // Weights by a formula, or by a seed.
  fs::path exported(const std::string& name, const ExportOptions& options,
                    std::optional<uint64_t> seed = {}) {
    LoadOptions load;
    load.seed = seed;
    load.image_height = load.image_width = test::kSmallSize;
    return export_onnx(load_model(definition_.string(), load), folder_ / (name + ".onnx"), options)
        .path;
  }
  // Without labels; a score that weights without training reach.
  EvalOptions options(const fs::path& against) const {
    EvalOptions options = test::small_eval(data_);
    options.images = data_ / "val2017";
    options.against = against.string();
    options.reference_score = 0.02;
    return options;
  }
  FidelityResult evaluate(const fs::path& model, const EvalOptions& options) {
    return evaluate_fidelity(model.string(), folder_ / "out", options);
  }
  Error error_of(const fs::path& model, const EvalOptions& options) {
    try {
      evaluate(model, options);
    } catch (const Error& error) {
      return error;
    }
    return Error("nothing was thrown");
  }

  test::TemporaryFolder folder_;
  fs::path definition_;
  fs::path data_;
};

TEST_F(FidelityTest, OfAModelToItselfIsOneInAllFiles) {
  const FidelityResult result = evaluate(definition_, options(exported("m", {})));
  EXPECT_NEAR(result.fidelity.figures.fidelity, 1, 1e-9);
  EXPECT_GT(result.fidelity.figures.reference_boxes, 0);
  EXPECT_EQ(result.fidelity.num_images, 3);
  EXPECT_EQ(read_file(result.detections_path), read_file(result.reference_detections_path));

  const auto json = nlohmann::json::parse(read_file(result.fidelity_path));
  EXPECT_EQ(json["metrics"]["fidelity"], result.fidelity.figures.fidelity);
  EXPECT_EQ(json["metrics"]["confidence_interval"]["fidelity"]["high"],
            result.fidelity.intervals->map_50_95.high);
  EXPECT_EQ(json["reference_score"], 0.02);
  EXPECT_EQ(json["conf"].dump(), "0.001");
  EXPECT_EQ(json["yoloquant"]["per_image"].size(), 3U);
  const std::vector<std::string> rows = split(read_file(result.per_image_path), '\n');
  ASSERT_EQ(rows.size(), 5U);  // a header, three images, the end
  EXPECT_EQ(rows[0], "image_id,image,fidelity,fidelity_50,reference_boxes,missed,extra");
  EXPECT_THAT(rows[1], HasSubstr("val2017"));
  EXPECT_EQ(split(read_file(result.per_class_path), '\n').size(), 2 + data::shape_names().size());
}

TEST_F(FidelityTest, OtherWeightsAreFarAndImagesComeWorstFirst) {
  const FidelityResult result = evaluate(exported("other", {}, 3), options(exported("m", {})));
  EXPECT_LT(result.fidelity.figures.fidelity, 0.7);
  double last = 0;
  for (const eval::ImageFidelity& image : result.fidelity.images) {
    if (image.figures.fidelity < 0) break;
    EXPECT_GE(image.figures.fidelity, last);
    last = image.figures.fidelity;
  }
}

// With labels, the figures are those of the same images without.
TEST_F(FidelityTest, StandsBesideMap) {
  const fs::path model = exported("other", {}, 3);
  EvalOptions wanted = options(exported("m", {}));
  const FidelityResult alone = evaluate(model, wanted);
  wanted.images.clear();
  const EvalResult result = evaluate_model(model.string(), folder_ / "labelled", wanted);
  ASSERT_TRUE(result.fidelity);
  EXPECT_EQ(result.fidelity->fidelity.figures.fidelity, alone.fidelity.figures.fidelity);
  EXPECT_EQ(result.fidelity->fidelity.figures.missed, alone.fidelity.figures.missed);
  const auto json = nlohmann::json::parse(read_file(result.metrics_path));
  EXPECT_EQ(json["yoloquant"]["fidelity"]["fidelity"], alone.fidelity.figures.fidelity);
  EXPECT_TRUE(json["metrics"].contains("mAP_50_95"));
  const EvalResult reference = evaluate_model(wanted.against, folder_ / "reference", [&] {
    EvalOptions options = wanted;
    options.against.clear();
    return options;
  }());
  EXPECT_FALSE(reference.difference);
  ASSERT_TRUE(result.difference);
  EXPECT_DOUBLE_EQ(result.difference->map_50_95.estimate,
                   result.coco.figures.ap - reference.coco.figures.ap);
  EXPECT_EQ(json["yoloquant"]["difference"]["mAP_50_95"]["low"], result.difference->map_50_95.low);
  EXPECT_TRUE(fs::exists(result.fidelity->fidelity_path));
}

// Heads and input sizes may differ: both are boxes on the image in the end.
TEST_F(FidelityTest, ComparesDifferentHeadsAndSizes) {
  const fs::path one2one =
      exported("one", {.head = Head::kOneToOne, .image_height = 160, .image_width = 160});
  const fs::path end2end =
      exported("e2e", {.head = Head::kEndToEnd, .image_height = 160, .image_width = 160});
  EvalOptions wanted = options(one2one);
  wanted.image_height = wanted.image_width = 0;
  const FidelityResult same = evaluate(end2end, wanted);
  EXPECT_EQ(same.head, Head::kEndToEnd);
  EXPECT_EQ(same.reference_head, Head::kOneToOne);
  EXPECT_NEAR(same.fidelity.figures.fidelity, 1, 1e-6);
  const FidelityResult sizes = evaluate(exported("small", {}), wanted);
  EXPECT_EQ(sizes.image_height, test::kSmallSize);
  EXPECT_GT(sizes.fidelity.figures.reference_boxes, 0);
  EXPECT_LT(sizes.fidelity.figures.fidelity, 1);
}

TEST_F(FidelityTest, TakesTheFirstImagesOfAList) {
  data::ImageList images = data::read_image_list(data_ / "val2017");
  std::ranges::reverse(images);
  data::write_image_list(folder_ / "list.txt", images);
  EvalOptions wanted = options(exported("m", {}));
  wanted.images = folder_ / "list.txt";
  wanted.max_images = 2;
  const FidelityResult result = evaluate(definition_, wanted);
  EXPECT_EQ(result.fidelity.num_images, 2);
  EXPECT_EQ(result.image(0).filename(), images[0].filename());
  EXPECT_EQ(result.image(1).filename(), images[1].filename());
  EXPECT_THROW(result.image(2), Error);
}

TEST_F(FidelityTest, BadRequests) {
  const fs::path model = exported("m", {});
  const auto usage = [&](const std::function<void(EvalOptions&)>& change) {
    EvalOptions wanted = options(model);
    change(wanted);
    const Error error = error_of(model, wanted);
    EXPECT_EQ(error.exit_status(), 2) << error.what();
    return std::string(error.what());
  };
  EXPECT_THAT(usage([](EvalOptions& o) { o.against = "yolov10n.yaml"; }),
              testing::AllOf(HasSubstr("6"), HasSubstr("80")));
  EXPECT_THAT(usage([](EvalOptions& o) { o.against = ""; }), HasSubstr("--against"));
  EXPECT_THAT(usage([](EvalOptions& o) { o.images = ""; }), HasSubstr("--images"));
  EXPECT_THAT(usage([](EvalOptions& o) { o.images = "/nowhere"; }), HasSubstr("/nowhere"));
  fs::create_directories(folder_ / "empty");
  EXPECT_THAT(usage([&](EvalOptions& o) { o.images = folder_ / "empty"; }), HasSubstr("no image"));
  EvalOptions nothing = options(model);
  nothing.reference_score = 1;
  EXPECT_THAT(error_of(model, nothing).what(), HasSubstr("lower --reference-score"));
}

TEST_F(FidelityTest, NamesOfClassesMustAgree) {
  LoadedModel renamed = load_model(
      definition_.string(), {.image_height = test::kSmallSize, .image_width = test::kSmallSize});
  renamed.graph.metadata.names[2] = "zebra";
  const Error error =
      error_of(export_onnx(renamed, folder_ / "renamed.onnx", {}).path, options(exported("m", {})));
  EXPECT_EQ(error.exit_status(), 2);
  EXPECT_THAT(error.what(), HasSubstr("class 2 is 'zebra'"));
}

}  // namespace
}  // namespace yoloquant::pipeline

#include "pipeline/load_model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/file.h"
#include "model/model.h"
#include "onnx/metadata.h"
#include "pipeline/export.h"
#include "pipeline/small_run.h"
#include "support/error_of.h"
#include "support/shared_data.h"

namespace yoloquant::pipeline {
namespace {

using graph::Head;
using test::error_of;
using testing::HasSubstr;

LoadOptions small() {
  return {.seed = {}, .class_count = 3, .image_height = 64, .image_width = 96};
}

// A plain-dict checkpoint of a definition's formula weights, without the definition.
checkpoint::Checkpoint checkpoint_of(const LoadedModel& model) {
  checkpoint::Checkpoint result;
  result.state = model::state_dict(model.graph);
  result.names = {{0, "ant"}, {1, "bee"}, {2, "cat"}};
  return result;
}

TEST(LoadModel, KindsByName) {
  EXPECT_EQ(model_kind("a/b.onnx"), ModelKind::kOnnx);
  EXPECT_EQ(model_kind("b.YAML"), ModelKind::kDefinition);
  EXPECT_EQ(model_kind("b.pt"), ModelKind::kCheckpoint);
  EXPECT_EQ(model_kind("b.safetensors"), ModelKind::kCheckpoint);
}

TEST(LoadModel, BuiltInDefinition) {
  const LoadedModel model = load_model("yolov10s.yaml", small());
  EXPECT_EQ(model.name, "yolov10s");
  EXPECT_EQ(model.class_count(), 3);
  EXPECT_FALSE(model.trained);
  EXPECT_THAT(model.warnings, testing::ElementsAre(HasSubstr("accuracy means nothing")));
  EXPECT_EQ(model.graph.values[0].shape, (Shape{1, 3, 64, 96}));
}

TEST(LoadModel, SeedMakesWeights) {
  LoadOptions options = small();
  const auto weight = [&] {
    return load_model("yolov10n.yaml", options).graph.parameter("model.0.conv.weight");
  };
  const Tensor formula = weight();
  options.seed = 1;
  const Tensor one = weight();
  EXPECT_TRUE(equal(one, weight()));
  EXPECT_FALSE(equal(one, formula));
  options.seed = 2;
  EXPECT_FALSE(equal(one, weight()));
}

TEST(LoadModel, UnknownModelsNameWhatThereIs) {
  EXPECT_THAT(error_of([] { load_model("yolov10q.yaml"); }), HasSubstr("did you mean yolov10"));
  EXPECT_THAT(error_of([] { load_model("nowhere.pt"); }), HasSubstr("nowhere.pt"));
  EXPECT_THAT(error_of([] { load_model(""); }), HasSubstr("no model"));
  EXPECT_THAT(error_of([] { load_model("x.pt", {.seed = {}, .class_count = 3}); }),
              HasSubstr("definition"));
}

TEST(LoadModel, DefinitionIsFoundByShapes) {
  const test::TemporaryFolder folder;
  for (const char* name : {"yolov10n.yaml", "yolov10b.yaml"}) {
    const LoadedModel original = load_model(name, small());
    checkpoint::write(folder / "weights.pt", checkpoint_of(original));
    const LoadedModel loaded =
        load_model((folder / "weights.pt").string(), {.image_height = 64, .image_width = 96});
    EXPECT_EQ(loaded.definition->name, original.definition->name);
    EXPECT_EQ(loaded.class_count(), 3);
    EXPECT_TRUE(loaded.trained);
    EXPECT_EQ(loaded.graph.metadata.names.at(1), "bee");
    EXPECT_TRUE(equal(loaded.graph.parameter("model.0.conv.weight"),
                      original.graph.parameter("model.0.conv.weight")));
  }
}

TEST(LoadModel, WeightsOfNoModelAreAnError) {
  const test::TemporaryFolder folder;
  checkpoint::Checkpoint odd = checkpoint_of(load_model("yolov10n.yaml", small()));
  odd.state["model.0.conv.weight"] = Tensor(DType::kFloat32, {5, 3, 3, 3});
  checkpoint::write(folder / "odd.pt", odd);
  EXPECT_THAT(error_of([&] { load_model((folder / "odd.pt").string()); }),
              HasSubstr("fit none of the built-in"));
}

// The two heads share one DFL projection in Ultralytics' model: a checkpoint has it once.
TEST(LoadModel, BothHeadsGetTheDflProjection) {
  const test::TemporaryFolder folder;
  checkpoint::Checkpoint scaled = checkpoint_of(load_model("yolov10n.yaml", small()));
  Tensor& projection = scaled.state.at("model.23.dfl.conv.weight");
  projection.mutable_data<float>()[3] = 2.75F;
  checkpoint::write(folder / "scaled.pt", scaled);
  const LoadedModel loaded = load_model((folder / "scaled.pt").string());
  EXPECT_TRUE(equal(loaded.graph.parameter("model.23.one2one_dfl.conv.weight"),
                    loaded.graph.parameter("model.23.dfl.conv.weight")));
  EXPECT_EQ(loaded.graph.parameter("model.23.one2one_dfl.conv.weight").data<float>()[3], 2.75F);
}

TEST(ExportOnnx, HeadsSizesAndMetadata) {
  const test::TemporaryFolder folder;
  const LoadedModel model = load_model("yolov10n.yaml", small());
  const auto shape_of = [&](Head head, int64_t batch) {
    const auto result =
        export_onnx(model, folder / "m.onnx", {.head = head, .batch = batch, .max_detections = 20});
    EXPECT_TRUE(result.check.ok());
    EXPECT_EQ(result.check.metadata.at("yoloquant.head"), graph::head_name(head));
    Shape shape;
    for (const auto& extent : result.check.outputs.at(0).shape) shape.push_back(*extent.size);
    return shape;
  };
  EXPECT_EQ(shape_of(Head::kOneToMany, 1), (Shape{1, 7, 126}));
  EXPECT_EQ(shape_of(Head::kOneToOne, 2), (Shape{2, 7, 126}));
  EXPECT_EQ(shape_of(Head::kEndToEnd, 1), (Shape{1, 20, 6}));
}

TEST(ExportOnnx, BadOptionsLeaveTheOldFile) {
  const test::TemporaryFolder folder;
  const LoadedModel model = load_model("yolov10n.yaml", small());
  write_file(folder / "m.onnx", "old");
  EXPECT_THROW(export_onnx(model, folder / "m.onnx", {.head = Head::kBoth}), Error);
  EXPECT_THROW(export_onnx(model, folder / "m.onnx", {.opset = 99}), Error);
  EXPECT_THROW(export_onnx(model, folder / "m.onnx", {.batch = 0}), Error);
  EXPECT_THROW(export_onnx(model, folder / "m.onnx", {.image_height = 65}), Error);
  EXPECT_EQ(read_file(folder / "m.onnx"), "old");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 1);
}

TEST(LoadModel, OnnxIsReadBack) {
  const test::TemporaryFolder folder;
  const LoadedModel model = load_model("yolov10n.yaml", small());
  export_onnx(model, folder / "m.onnx", {.head = Head::kOneToOne});
  const LoadedModel again = load_model((folder / "m.onnx").string());
  EXPECT_EQ(again.kind, ModelKind::kOnnx);
  EXPECT_EQ(again.class_count(), 3);
  export_onnx(again, folder / "again.onnx", {.head = Head::kOneToOne});
  export_onnx(again, folder / "e2e.onnx", {.head = Head::kEndToEnd});
  EXPECT_THAT(error_of([&] { export_onnx(again, folder / "x.onnx", {}); }),
              HasSubstr("holds the one2one head"));
}

TEST(LoadModel, RealCheckpoints) {
  YQ_REQUIRE_SHARED();
  const auto weights = test::shared_data() / "weights";
  const LoadedModel model = load_model((weights / "yolov10n.pt").string());
  EXPECT_EQ(model.definition->scale, "n");
  EXPECT_EQ(model.class_count(), 80);
  EXPECT_EQ(model.graph.metadata.names.at(0), "person");
  const LoadedModel newer = load_model((weights / "yolov10n_ultralytics84.pt").string());
  EXPECT_TRUE(equal(newer.graph.parameter("model.0.conv.weight"),
                    model.graph.parameter("model.0.conv.weight")));
  EXPECT_EQ(load_model((weights / "tiny_training_state.pt").string()).class_count(), 3);
}

}  // namespace
}  // namespace yoloquant::pipeline

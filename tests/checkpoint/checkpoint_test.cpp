#include "checkpoint/checkpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/file.h"
#include "checkpoint/python_script.h"
#include "checkpoint/torch_archive.h"
#include "checkpoint/value_text.h"
#include "support/error_of.h"
#include "support/shared_data.h"
#include "support/temporary_folder.h"

namespace yoloquant::checkpoint {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using yoloquant::test::shared_data;
using yoloquant::test::TemporaryFolder;

std::string error_of(const std::filesystem::path& path) {
  return yoloquant::test::error_of([&] { read(path); });
}

void expect_same_tensors(const TensorMap& a, const TensorMap& b) {
  ASSERT_EQ(a.size(), b.size());
  for (const auto& [name, tensor] : a) {
    ASSERT_TRUE(b.contains(name)) << name;
    EXPECT_TRUE(equal(tensor, b.at(name))) << name;
  }
}

Checkpoint example() {
  Checkpoint checkpoint;
  checkpoint.state["model.1.weight"] =
      Tensor::from<float>({2, 2}, std::vector<float>{1, 2, 3, 4}).to(DType::kFloat16);
  checkpoint.state["model.0.count"] = Tensor::from<int64_t>({}, std::vector<int64_t>{5});
  checkpoint.order = {"model.1.weight", "model.0.count"};
  checkpoint.names = {{0, "cat"}, {1, "\"dog\""}};
  checkpoint.stride = {8, 16, 32};
  checkpoint.yaml = Value::dict({{"nc", 2}, {"scale", "n"}});
  checkpoint.args = Value::dict({{"imgsz", 640}});
  checkpoint.train_args = Value::dict({{"lr0", 0.01}, {"cache", false}, {"time", {}}});
  checkpoint.epoch = 7;
  checkpoint.date = "2024-05-01";
  checkpoint.version = "8.1.34";
  checkpoint.task = "detect";
  return checkpoint;
}

void expect_same_fields(const Checkpoint& a, const Checkpoint& b) {
  expect_same_tensors(a.state, b.state);
  EXPECT_EQ(a.names, b.names);
  EXPECT_EQ(a.stride, b.stride);
  EXPECT_EQ(to_json(a.yaml), to_json(b.yaml));
  EXPECT_EQ(to_json(a.args), to_json(b.args));
  EXPECT_EQ(to_json(a.train_args), to_json(b.train_args));
  EXPECT_EQ(a.epoch, b.epoch);
  EXPECT_EQ(a.date, b.date);
  EXPECT_EQ(a.version, b.version);
  EXPECT_EQ(a.task, b.task);
}

TEST(Checkpoint, RoundTripOfBothFormats) {
  TemporaryFolder folder;
  const Checkpoint checkpoint = example();
  for (const std::string name : {"a.pt", "a.safetensors"}) {
    write(folder / name, checkpoint);
    const Checkpoint back = read(folder / name);
    expect_same_fields(checkpoint, back);
    EXPECT_EQ(back.class_count(), 2);
    EXPECT_EQ(back.source, name == "a.pt" ? Source::kPlainDict : Source::kSafetensors);
  }
  EXPECT_EQ(read(folder / "a.pt").order, checkpoint.order);
}

TEST(Checkpoint, AveragedAndRawWeights) {
  TemporaryFolder folder;
  Checkpoint checkpoint = example();
  checkpoint.raw_state = checkpoint.state;
  checkpoint.raw_state["model.0.count"] = Tensor(DType::kInt64, {});
  write(folder / "a.pt", checkpoint);
  ReadOptions options;
  options.both_entries = true;
  const Checkpoint back = read(folder / "a.pt", options);
  EXPECT_EQ(back.entry, "ema_state_dict");
  expect_same_tensors(back.state, checkpoint.state);
  expect_same_tensors(back.raw_state, checkpoint.raw_state);
}

TEST(Checkpoint, OptimizerStateAndExtras) {
  TemporaryFolder folder;
  Checkpoint checkpoint = example();
  const Tensor momentum = Tensor::from<float>({2}, std::vector<float>{1, 2});
  checkpoint.optimizer = Value::dict(
      {{"state", Value::dict({{0, Value::dict({{"momentum_buffer", momentum}})}})},
       {"param_groups", Value::list({Value::dict({{"lr", 0.1}, {"params", Value::list({0})}})})}});
  checkpoint.extras.set_item("best_fitness", 0.25);
  write(folder / "a.pt", checkpoint);
  const Checkpoint back = read(folder / "a.pt");
  EXPECT_EQ(to_json(back.optimizer), to_json(checkpoint.optimizer));
  const Value& state = back.optimizer.find("state")->entries()[0].second;
  EXPECT_TRUE(equal(state.find("momentum_buffer")->tensor(), momentum));
  EXPECT_EQ(back.extras.find("best_fitness")->as_float(), 0.25);
  ReadOptions options;
  options.optimizer = false;
  EXPECT_TRUE(read(folder / "a.pt", options).optimizer.is_none());
}

TEST(Checkpoint, WritesAnotherType) {
  TemporaryFolder folder;
  WriteOptions options;
  options.dtype = DType::kFloat32;
  write(folder / "a.pt", example(), options);
  const Checkpoint back = read(folder / "a.pt");
  EXPECT_EQ(back.state.at("model.1.weight").dtype(), DType::kFloat32);
  EXPECT_EQ(back.state.at("model.0.count").dtype(), DType::kInt64);
}

TEST(Checkpoint, WhatIsNoCheckpoint) {
  TemporaryFolder folder;
  EXPECT_THAT(error_of(folder / "missing.pt"), HasSubstr("missing.pt"));
  write_file(folder / "text.pt", "hello");
  EXPECT_THAT(error_of(folder / "text.pt"), HasSubstr("text.pt: not a torch checkpoint"));
  write_torch_file(folder / "list.pt", Value::list({1}));
  EXPECT_THAT(error_of(folder / "list.pt"), HasSubstr("found a list"));
  write_torch_file(folder / "dict.pt", Value::dict({{"model", "yolo"}, {"format", 1}}));
  EXPECT_THAT(error_of(folder / "dict.pt"), HasSubstr("a dict with keys \"model\", \"format\""));
}

TEST(Checkpoint, FailedWritesLeaveTheOldFile) {
  TemporaryFolder folder;
  write(folder / "a.pt", example());
  const std::string before = read_file(folder / "a.pt");
  Checkpoint bad = example();
  bad.extras = Value::dict({{"storage", Value(BigInt{"no number"})}});
  EXPECT_THROW(write(folder / "a.pt", bad), Error);
  EXPECT_EQ(read_file(folder / "a.pt"), before);
}

// ---- Real files.

nlohmann::json golden_state(const std::string& variant) {
  return nlohmann::json::parse(read_file(shared_data() / "golden/variants.json"))[variant]["state"];
}

TEST(RealCheckpoint, BothGenerationsOfUltralytics) {
  YQ_REQUIRE_SHARED();
  const nlohmann::json golden = golden_state("yolov10n");
  for (const std::string name : {"yolov10n.pt", "yolov10n_ultralytics84.pt"}) {
    const Checkpoint checkpoint = read(shared_data() / "weights" / name);
    ASSERT_EQ(checkpoint.state.size(), golden.size());
    for (const auto& [key, shape] : golden.items()) {
      ASSERT_TRUE(checkpoint.state.contains(key)) << key;
      EXPECT_EQ(checkpoint.state.at(key).shape(), shape.get<Shape>()) << key;
    }
    EXPECT_EQ(checkpoint.order.size(), golden.size());
    EXPECT_EQ(checkpoint.order.front(), "model.0.conv.weight");
    EXPECT_EQ(checkpoint.state.at("model.0.conv.weight").dtype(), DType::kFloat16);
    EXPECT_EQ(checkpoint.source, Source::kUltralyticsModule);
    EXPECT_EQ(checkpoint.entry, "model");
    EXPECT_EQ(checkpoint.class_count(), 80);
    EXPECT_EQ(checkpoint.names.at(0), "person");
    EXPECT_EQ(checkpoint.names.at(79), "toothbrush");
    EXPECT_THAT(checkpoint.stride, ElementsAre(8, 16, 32));
    EXPECT_EQ(checkpoint.yaml.find("nc")->as_int(), 80);
    EXPECT_THAT(to_yaml(checkpoint.yaml), HasSubstr("\n  - [-1, 1, Conv, [64, 3, 2]]\n"));
    EXPECT_EQ(checkpoint.task, "detect");
    EXPECT_EQ(checkpoint.train_args.find("data")->as_string(), "coco.yaml");
    EXPECT_EQ(checkpoint.epoch, -1);
    EXPECT_EQ(checkpoint.date, "2026-11-21T00:00:00");
    EXPECT_TRUE(checkpoint.optimizer.is_none());
  }
  const Checkpoint old = read(shared_data() / "weights/yolov10n.pt");
  const Checkpoint recent = read(shared_data() / "weights/yolov10n_ultralytics84.pt");
  expect_same_tensors(old.state, recent.state);
  EXPECT_EQ(old.model_class, "ultralytics.nn.tasks.YOLOv10DetectionModel");
  EXPECT_EQ(old.version, "8.1.34");
}

TEST(RealCheckpoint, UnstrippedTrainingState) {
  YQ_REQUIRE_SHARED();
  const Checkpoint checkpoint = read(shared_data() / "weights/tiny_training_state.pt");
  EXPECT_EQ(checkpoint.entry, "ema");
  EXPECT_TRUE(checkpoint.is_averaged());
  EXPECT_EQ(checkpoint.epoch, 1);
  EXPECT_EQ(checkpoint.state.size(), 595U);
  EXPECT_EQ(checkpoint.names.at(2), "triangle");
  EXPECT_EQ(checkpoint.class_count(), 3);
  EXPECT_EQ(checkpoint.extras.find("updates")->as_int(), 1);
  EXPECT_EQ(checkpoint.args.find("imgsz")->as_int(), 96);
  const Value* state = checkpoint.optimizer.find("state");
  ASSERT_NE(state, nullptr);
  EXPECT_GT(state->entries().size(), 300U);
  const Tensor average = state->entries()[0].second.find("exp_avg")->tensor();
  EXPECT_EQ(average.dtype(), DType::kFloat32);
  EXPECT_GT(average.size(), 0);
  EXPECT_EQ(checkpoint.optimizer.find("param_groups")->items()[0].find("eps")->as_float(), 1e-8);
}

TEST(RealCheckpoint, OtherTorchFilesAsPlainValues) {
  YQ_REQUIRE_SHARED();
  const auto path = shared_data() / "weights/yolov10n_int8_frozen.pt";
  const Value root = read_torch_file(path);
  const Value* layers = root.find("layers");
  ASSERT_NE(layers, nullptr);
  const Tensor weight = layers->find("model.0.conv")->find("weight_int8")->tensor();
  EXPECT_EQ(weight.dtype(), DType::kInt8);
  EXPECT_EQ(weight.shape(), (Shape{16, 3, 3, 3}));
  EXPECT_THAT(error_of(path), HasSubstr("no model weights"));
  EXPECT_THAT(error_of(path), HasSubstr("\"scheme\", \"layers\""));
}

TEST(RealCheckpoint, ConvertedAndBack) {
  YQ_REQUIRE_SHARED();
  TemporaryFolder folder;
  for (const std::string name : {"yolov10n.pt", "tiny_training_state.pt"}) {
    const Checkpoint checkpoint = read(shared_data() / "weights" / name);
    for (const std::string to : {"a.pt", "a.safetensors"}) {
      write(folder / to, checkpoint);
      const Checkpoint back = read(folder / to);
      expect_same_fields(checkpoint, back);
      EXPECT_EQ(back.is_averaged(), checkpoint.is_averaged());
      if (to == "a.pt") {
        EXPECT_EQ(back.order, checkpoint.order);
        EXPECT_EQ(to_json(back.optimizer), to_json(checkpoint.optimizer));
      }
    }
  }
}

}  // namespace
}  // namespace yoloquant::checkpoint

#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <functional>
#include <utility>

#include "base/file.h"
#include "base/text.h"
#include "checkpoint/checkpoint.h"
#include "data/shapes.h"
#include "pipeline/train.h"
#include "pipeline/train_checkpoint.h"
#include "support/temporary_folder.h"

// A training that takes a second.
namespace yoloquant::pipeline {

namespace fs = std::filesystem;

// Two levels of stride 4 and 8; the classes of the shapes set.
inline constexpr const char* kDefinition = R"(
nc: 6
scales: {n: [0.33, 0.25, 64]}
backbone:
  - [-1, 1, Conv, [32, 3, 2]]
  - [-1, 1, Conv, [64, 3, 2]]
  - [-1, 3, C2f, [64, true]]
  - [-1, 1, SCDown, [128, 3, 2]]
  - [-1, 3, C2f, [128, true]]
head:
  - [[2, 4], 1, v10Detect, [nc]]
)";

// 7 training and 3 validation images of 64 pixels in COCO's form, and a definition.
struct Example {
  test::TemporaryFolder folder;
  fs::path coco = folder / "shapes";
  fs::path model = folder / "tiny.yaml";

  Example() {
    data::ShapesOptions shapes;
    shapes.train_images = 7;
    shapes.val_images = 3;
    shapes.width = shapes.height = 64;
    shapes.max_objects = 2;
    data::write_shapes(coco, shapes);
    write_file(model, kDefinition);
  }
};
inline const Example& example() {
  static const Example made;
  return made;
}

// 4 batches an epoch and 3 to a step: epochs end with gradients that are not used yet.
inline TrainOptions small_training(const fs::path& out) {
  TrainOptions options;
  options.model = example().model.string();
  options.data.coco = example().coco;
  options.image_size = 64;
  options.batch = 2;
  options.trainer.schedule.epochs = 3;
  options.trainer.schedule.nominal_batch = 6;
  options.trainer.schedule.warmup_epochs = 0;
  options.augment.close_mosaic = 1;
  options.workers = options.threads = 1;
  options.out = out;
  return options;
}

// Calls `action` when `done` steps of `task` are finished.
class At : public Progress {
 public:
  At(std::string task, int64_t done, std::function<void()> action)
      : task_(std::move(task)), done_(done), action_(std::move(action)) {}
  void start(std::string_view task, int64_t /*total*/) override { active_ = task.ends_with(task_); }
  void update(int64_t done, std::string_view /*note*/) override {
    if (active_ && done == done_) action_();
  }
  void finish() override {}

 private:
  std::string task_;
  int64_t done_;
  std::function<void()> action_;
  bool active_ = false;
};

inline checkpoint::Checkpoint read_last(const fs::path& run) {
  return checkpoint::read(run / "weights/last.pt", {.limits = {}, .both_entries = true});
}

inline void expect_equal(const TensorMap& actual, const TensorMap& expected) {
  ASSERT_EQ(actual.size(), expected.size());
  for (const auto& [name, value] : expected) EXPECT_TRUE(equal(actual.at(name), value)) << name;
}

inline void expect_same_end(const fs::path& actual, const fs::path& expected) {
  const checkpoint::Checkpoint a = read_last(actual);
  const checkpoint::Checkpoint b = read_last(expected);
  expect_equal(a.state, b.state);
  expect_equal(a.raw_state, b.raw_state);
  train::TrainerState parts_of_a;
  train::TrainerState parts_of_b;
  TrainPosition position;
  read_train_checkpoint(actual / "weights/last.pt", parts_of_a, position);
  read_train_checkpoint(expected / "weights/last.pt", parts_of_b, position);
  expect_equal(parts_of_a.parts, parts_of_b.parts);
  expect_equal(parts_of_a.part_average, parts_of_b.part_average);
  const auto rows = [](const fs::path& run) {
    std::vector<std::vector<std::string>> table;
    for (const std::string& line : split(read_file(run / "results.csv"), '\n')) {
      table.push_back(split(line, ','));
      if (table.back().size() > 1) table.back()[1] = "";  // seconds
    }
    return table;
  };
  EXPECT_EQ(rows(actual), rows(expected));
}

}  // namespace yoloquant::pipeline

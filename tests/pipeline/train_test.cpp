#include "pipeline/train.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <fstream>

#include "base/error.h"
#include "base/file.h"
#include "base/interrupt.h"
#include "base/text.h"
#include "checkpoint/checkpoint.h"
#include "data/coco_labels.h"
#include "pipeline/evaluate.h"
#include "pipeline/load_model.h"
#include "pipeline/small_training.h"
#include "support/shared_data.h"
#include "support/temporary_folder.h"

namespace yoloquant::pipeline {
namespace {

using ::testing::HasSubstr;

const fs::path& straight_run() {
  static const test::TemporaryFolder folder;
  static const fs::path run = [] {
    train(small_training(folder / "run"));
    return folder / "run";
  }();
  return run;
}

TEST(Train, LearnsAndLeavesItsFiles) {
  const test::TemporaryFolder folder;
  // Validates on the training images.
  data::DataYaml data = data::write_coco_labels(example().coco, folder / "labels").data;
  data.val = data.train;
  data::write_data_yaml(data);
  TrainOptions options = small_training(folder / "run");
  options.data.coco.clear();
  options.data.yaml = data.file;
  options.trainer.optimizer = train::OptimizerKind::kAdamW;
  options.trainer.schedule.rate = 0.01;
  options.batch = options.trainer.schedule.nominal_batch = 4;
  options.trainer.schedule.epochs = 80;
  options.trainer.ema_tau = 200;
  options.augment = data::AugmentOptions::none();
  options.save_period = 20;
  options.val_period = 20;
  std::vector<std::string> lines;
  TrainEvents events;
  events.info = [&](std::string_view line) { lines.emplace_back(line); };
  const TrainResult result = train(options, events);
  EXPECT_EQ(result.epochs, 80);
  EXPECT_GT(result.map50, 0.25);
  EXPECT_GT(result.best_epoch, 0);

  const std::vector<std::string> rows = split(read_file(folder / "run/results.csv"), '\n');
  ASSERT_EQ(rows.size(), 82U);  // header, 80 epochs, and nothing behind the last line break
  const auto column = [&](size_t row, size_t index) {
    return std::stod(split(rows[row], ',').at(index));
  };
  EXPECT_EQ(split(rows[0], ',').at(10), "metrics/mAP50(B)");
  EXPECT_LT(column(80, 2), 0.5 * column(1, 2));
  EXPECT_LT(column(80, 12), 0.5 * column(20, 12));
  EXPECT_GT(column(80, 10), column(20, 10) + 0.2);
  EXPECT_EQ(split(rows[1], ',').at(10), "");
  EXPECT_THAT(lines.back(), HasSubstr("epoch 80/80"));
  for (const char* file :
       {"weights/best.pt", "weights/last.pt", "weights/epoch020.pt", "train_batch0.jpg",
        "val_batch0_pred.jpg", "train.json", "data/data.json", "data/train.txt", "logs/run.log"}) {
    EXPECT_TRUE(fs::exists(folder / "run" / file)) << file;
  }

  const LoadedModel best = load_model((folder / "run/weights/best.pt").string());
  EXPECT_EQ(best.class_count(), 6);
  EXPECT_EQ(best.graph.metadata.names.at(0), data::shape_names()[0]);
  EXPECT_TRUE(best.checkpoint->is_averaged());
}

TEST(Train, GoesOnAfterAKillAsIfItHadNeverStopped) {
  const test::TemporaryFolder folder;
  TrainOptions options = small_training(folder / "run");
  At kill("epoch 2/3", 2, [] { throw std::runtime_error("killed"); });
  EXPECT_THROW(train(options, {}, kill), std::runtime_error);
  EXPECT_EQ(read_last(folder / "run").epoch, 0);
  options.resume = true;
  EXPECT_EQ(train(options).epochs, 3);
  expect_same_end(folder / "run", straight_run());
}

TEST(Train, GoesOnAfterAKillInTheFirstEpoch) {
  const test::TemporaryFolder folder;
  TrainOptions options = small_training(folder / "run");
  At kill("epoch 1/3", 3, [] { throw std::runtime_error("killed"); });
  EXPECT_THROW(train(options, {}, kill), std::runtime_error);
  options.resume = true;
  train(options);
  expect_same_end(folder / "run", straight_run());
}

TEST(Train, SavesInTheMiddleOfAnEpochWhenAskedToStop) {
  const test::TemporaryFolder folder;
  TrainOptions options = small_training(folder / "run");
  At signal("epoch 2/3", 1, [] { request_interrupt(SIGTERM); });
  EXPECT_THROW(train(options, {}, signal), Interrupted);
  clear_interrupt();
  const checkpoint::Checkpoint last = read_last(folder / "run");
  const checkpoint::Value* training = last.extras.find("training");
  ASSERT_NE(training, nullptr);
  EXPECT_EQ(training->find("epoch")->as_int(), 1);
  EXPECT_EQ(training->find("batch")->as_int(), 1);
  options.resume = true;
  At again("validating", 2, [] {
    request_interrupt(SIGINT);
    check_interrupt();
  });
  EXPECT_THROW(train(options, {}, again), Interrupted);
  clear_interrupt();
  train(options);
  expect_same_end(folder / "run", straight_run());
}

TEST(Train, AFinishedRunIsNotTrainedFurther) {
  TrainOptions options = small_training(straight_run());
  options.resume = true;
  const auto before = fs::last_write_time(straight_run() / "weights/last.pt");
  EXPECT_EQ(train(options).epochs, 3);
  EXPECT_EQ(fs::last_write_time(straight_run() / "weights/last.pt"), before);
}

TEST(Train, StopsWhenNothingGetsBetter) {
  const test::TemporaryFolder folder;
  TrainOptions options = small_training(folder / "run");
  options.trainer.schedule.rate = 1e-12;
  options.trainer.schedule.epochs = 10;
  options.patience = 2;
  const TrainResult result = train(options);
  EXPECT_TRUE(result.stopped);
  EXPECT_LT(result.epochs, 10);
  options.resume = true;
  EXPECT_EQ(train(options).epochs, result.epochs);
}

TEST(Train, TakesWhatFitsOfACheckpointWithOtherClasses) {
  const test::TemporaryFolder folder;
  const fs::path& run = straight_run();
  data::DataYaml data = data::write_coco_labels(example().coco, folder / "labels").data;
  data.names.push_back("other");
  data::write_data_yaml(data);
  TrainOptions options = small_training(folder / "run");
  options.model = (run / "weights/best.pt").string();
  options.data.coco.clear();
  options.data.yaml = data.file;
  options.trainer.schedule.epochs = 1;
  options.trainer.schedule.rate = 1e-12;
  std::vector<std::string> warnings;
  TrainEvents events;
  events.warning = [&](std::string_view line) { warnings.emplace_back(line); };
  train(options, events);
  ASSERT_EQ(warnings.size(), 1U);
  EXPECT_THAT(warnings[0], HasSubstr("has 6 classes and the data 7"));
  const LoadedModel trained = load_model((folder / "run/weights/last.pt").string());
  EXPECT_EQ(trained.class_count(), 7);
  const auto first = [](const TensorMap& state) {
    return state.at("model.0.conv.weight").data<float>()[0];
  };
  EXPECT_NEAR(first(trained.graph.parameters),
              first(checkpoint::read(run / "weights/best.pt").state), 1e-6);
}

TEST(Train, ValidationOfYolov10nIsThatOfEval) {
  YQ_REQUIRE_SHARED();
  const test::TemporaryFolder folder;
  TrainOptions options = small_training(folder / "run");
  options.model = (test::shared_data() / "weights/yolov10n.pt").string();
  options.data.coco = test::shared_data() / "coco";
  options.data.fraction = 0.015;  // 2 images
  options.image_size = 320;
  options.trainer.schedule.epochs = 1;
  options.trainer.schedule.rate = 1e-12;
  options.trainer.freeze_norm = true;
  const TrainResult result = train(options);
  EvalOptions eval;
  eval.coco_root = options.data.coco;
  eval.head = graph::Head::kOneToOne;
  eval.image_height = eval.image_width = 320;
  eval.provider = runtime::Provider::kCpu;
  eval.threads = 1;
  eval.skip_latency = true;
  eval.bootstrap_resamples = 0;
  const EvalResult expected =
      evaluate_model((folder / "run/weights/last.pt").string(), folder / "eval", eval);
  EXPECT_GT(result.map, 0.3);
  EXPECT_NEAR(result.map, expected.coco.figures.ap, 5e-4);
  EXPECT_NEAR(result.map50, expected.coco.figures.ap50, 5e-4);
}

void expect_error(const TrainOptions& options, Error::Kind kind, const std::string& text) {
  try {
    train(options);
    ADD_FAILURE() << "no error about " << text;
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind) << error.what();
    EXPECT_THAT(error.what(), HasSubstr(text));
  }
}

TEST(Train, WrongUse) {
  const test::TemporaryFolder folder;
  const TrainOptions good = small_training(folder / "run");
  TrainOptions options = good;
  options.image_size = 50;
  expect_error(options, Error::Kind::kUsage, "multiple of 32");
  options = good;
  options.data.yaml = "data.yaml";
  expect_error(options, Error::Kind::kUsage, "either --data data.yaml or --coco ROOT");
  options = good;
  options.model = "model.onnx";
  expect_error(options, Error::Kind::kUsage, "not from ONNX");
  options = good;
  options.augment.mosaic = 2;
  expect_error(options, Error::Kind::kUsage, "mosaic");

  options = small_training(straight_run());
  expect_error(options, Error::Kind::kFailure, "--resume");
  options.resume = true;
  options.trainer.schedule.rate = 0.5;
  expect_error(options, Error::Kind::kUsage, "began with lr0 0.01, not 0.5");
}

TEST(Train, ALossThatIsNotFiniteEndsItAndLeavesTheLastGoodState) {
  const test::TemporaryFolder folder;
  TrainOptions options = small_training(folder / "run");
  options.trainer.schedule.rate = 1e30;
  expect_error(options, Error::Kind::kFailure, "not finite");
  EXPECT_FALSE(fs::exists(folder / "run/weights/last.pt"));
}

TEST(Train, DamagedCheckpointsAreRefused) {
  const test::TemporaryFolder folder;
  TrainOptions options = small_training(folder / "run");
  options.trainer.schedule.epochs = 1;
  train(options);
  options.resume = true;
  const fs::path last = folder / "run/weights/last.pt";
  checkpoint::Checkpoint file = read_last(folder / "run");
  checkpoint::Value training = *file.extras.find("training");
  const auto write = [&] {
    file.extras.set_item("training", training);
    checkpoint::write(last, file);
  };
  training.set_item("iteration", 3);
  write();
  expect_error(options, Error::Kind::kFailure, "do not belong to this training");
  training.set_item("epoch", "one");
  write();
  expect_error(options, Error::Kind::kFailure, "last.pt");
  file.extras = checkpoint::Value::dict();
  checkpoint::write(last, file);
  expect_error(options, Error::Kind::kFailure, "no training to go on with");
}

}  // namespace
}  // namespace yoloquant::pipeline

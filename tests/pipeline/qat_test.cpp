#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"
#include "base/interrupt.h"
#include "pipeline/run.h"
#include "pipeline/small_training.h"
#include "report/results_csv.h"
#include "support/error_of.h"

namespace yoloquant::pipeline {
namespace {

using test::error_of;
using testing::AllOf;
using testing::HasSubstr;

QatSettings quantizers(const std::string& scheme) {
  QatSettings qat;
  qat.config.scheme = quant::parse_scheme(scheme);
  qat.norm_batches = 2;
  qat.gap_period = 2;
  return qat;
}

// Steps that end in infinity, until a rollback makes them ordinary ones.
TrainOptions collapsing(const fs::path& out) {
  TrainOptions options = small_training(out);
  options.trainer.schedule.rate = 1e30;
  options.watch.rate_factor = 1e-32;
  options.validate_start = true;
  return options;
}

struct Heard {
  std::vector<std::string> warnings;
  TrainEvents events() {
    TrainEvents result;
    result.warning = [this](std::string_view line) { warnings.emplace_back(line); };
    return result;
  }
};

TEST(QuantizedTraining, FromScratchGoesOnToTheBit) {
  const test::TemporaryFolder folder;
  const auto options = [&](const char* run) {
    TrainOptions training = small_training(folder / run);
    training.qat = quantizers("w4a8");
    training.qat->options.freezing = true;
    training.qat->options.dampening = 1e-4;
    training.qat->options.stages = {{0, 8}, {0.5, 2}};
    training.qat->distillation = 0.5;
    return training;
  };
  const TrainResult straight = train(options("straight"));
  EXPECT_EQ(straight.epochs, 3);
  At stop("epoch 2/3", 3, [] { request_interrupt(SIGTERM); });
  EXPECT_THROW(train(options("cut"), {}, stop), Interrupted);
  clear_interrupt();
  TrainOptions on = options("cut");
  on.resume = true;
  train(on);
  expect_same_end(folder / "cut", folder / "straight");
  on.qat->options.dampening = 0;
  EXPECT_THAT(error_of([&] { train(on); }), HasSubstr("qat"));
}

TEST(QuantizedTraining, TheBestModelHasTheBitsAskedFor) {
  const test::TemporaryFolder folder;
  TrainOptions options = small_training(folder / "run");
  options.trainer.schedule.epochs = 4;
  options.qat = quantizers("w4a16");
  options.qat->options.stages = train::progressive_stages({8});
  std::vector<std::string> said;
  TrainEvents events;
  events.info = [&](std::string_view line) { said.emplace_back(line); };
  const TrainResult result = train(options, events);
  EXPECT_GE(result.best_epoch, 3);
  EXPECT_THAT(said, testing::Contains(HasSubstr("other bits from here on")));
  train::TrainerState state;
  TrainPosition position;
  read_train_checkpoint(folder / "run/weights/best.pt", state, position);
  int layers = 0;
  for (const auto& [name, value] : state.parts) {
    if (!name.ends_with(".weight_bits")) continue;
    EXPECT_EQ(value.data<int64_t>()[0], 4) << name;
    ++layers;
  }
  EXPECT_GT(layers, 5);
}

// What epochs of more bits score does not hide what the start did with the bits asked for.
TEST(QuantizedTraining, TheStartCountsBesideWhatComesAfterMoreBits) {
  const test::TemporaryFolder folder;
  TrainOptions options = small_training(folder / "run");
  options.trainer.schedule.epochs = 2;
  options.trainer.schedule.rate = 1e-12;  // nothing gets better
  options.validate_start = true;
  options.qat = quantizers("w4a16");
  options.qat->options.stages = train::progressive_stages({8});
  const TrainResult result = train(options);
  EXPECT_EQ(result.best_epoch, 0);
  train::TrainerState state;
  TrainPosition position;
  read_train_checkpoint(folder / "run/weights/best.pt", state, position);
  EXPECT_EQ(state.iteration, 0);
  for (const auto& [name, value] : state.parts) {
    if (!name.ends_with(".weight_bits")) continue;
    EXPECT_EQ(value.data<int64_t>()[0], 4) << name;
  }
}

TEST(QuantizedTraining, StepsBecomeWholeEpochs) {
  const test::TemporaryFolder folder;
  TrainOptions options = small_training(folder / "run");
  options.steps = 2;  // of 3 batches each; an epoch has 4 batches
  EXPECT_EQ(train(options).epochs, 2);
}

TEST(CollapsingTraining, GoesBackToTheStartAndOn) {
  const test::TemporaryFolder folder;
  Heard heard;
  const TrainResult result = train(collapsing(folder / "run"), heard.events());
  EXPECT_EQ(result.rollbacks, 1);
  EXPECT_EQ(result.epochs, 3);
  ASSERT_EQ(heard.warnings.size(), 1U);
  EXPECT_THAT(heard.warnings[0], AllOf(HasSubstr("epoch 1: the loss or its gradient is not finite"),
                                       HasSubstr("going back to epoch 0")));
  for (const auto& [name, value] : read_last(folder / "run").state) {
    if (value.dtype() != DType::kFloat32) continue;
    for (const float x : value.data<float>()) ASSERT_TRUE(std::isfinite(x)) << name;
  }
  const auto epochs = report::read_results_csv(folder / "run/results.csv");
  ASSERT_EQ(epochs.size(), 3U);
  EXPECT_TRUE(std::isfinite(epochs[0].train_losses[0]));
}

TEST(CollapsingTraining, RemembersItsRollbacksWhenItIsResumed) {
  const test::TemporaryFolder folder;
  train(collapsing(folder / "straight"));
  At stop("epoch 3/3", 1, [] { request_interrupt(SIGTERM); });
  EXPECT_THROW(train(collapsing(folder / "cut"), {}, stop), Interrupted);
  clear_interrupt();
  TrainOptions on = collapsing(folder / "cut");
  on.resume = true;
  EXPECT_EQ(train(on).rollbacks, 1);
  expect_same_end(folder / "cut", folder / "straight");
}

TEST(CollapsingTraining, OfQuantizersNamesTheLayers) {
  const test::TemporaryFolder folder;
  TrainOptions options = collapsing(folder / "run");
  options.qat = quantizers("w4a8");
  Heard heard;
  EXPECT_EQ(train(options, heard.events()).rollbacks, 1);
  EXPECT_THAT(heard.warnings, testing::Contains(AllOf(HasSubstr("most changed: model."),
                                                      HasSubstr("going back to epoch 0"))));
}

TEST(CollapsingTraining, EndsWithTheDiagnosisAndTheBestModel) {
  const test::TemporaryFolder folder;
  TrainOptions options = collapsing(folder / "run");
  options.watch.rate_factor = 1;
  options.watch.tries = 2;
  EXPECT_THAT(error_of([&] { train(options); }),
              AllOf(HasSubstr("training collapsed"), HasSubstr("2 rollbacks did not help"),
                    HasSubstr("best.pt is the best model so far")));
  EXPECT_TRUE(fs::exists(folder / "run/weights/best.pt"));
}

// A run of a trained checkpoint with one scheme.
class RunWithQat : public testing::Test {
 protected:
  RunWithQat() {
    TrainOptions options = small_training(folder_ / "float");
    options.trainer.schedule.epochs = 1;
    train(options);
    run_.model = (folder_ / "float/weights/best.pt").string();
    run_.root = folder_ / "run";
    config_.method = "nearest";
    run_.variants = scheme_variants({"w4a8"}, config_);
    run_.load.image_height = run_.load.image_width = 64;
    run_.quantize.calibration.images = 4;
    run_.quantize.device = "cpu";
    run_.quantize.threads = 1;
    run_.quantize.verify_images = 1;
    run_.eval.coco_root = example().coco;
    run_.eval.provider = runtime::Provider::kCpu;
    run_.eval.threads = 1;
    run_.eval.skip_latency = true;
    run_.eval.bootstrap_resamples = 20;
    run_.qat.when = QatWhen::kOn;
    run_.qat.train = small_training("");
    run_.qat.train.trainer.schedule.rate = 1e-4;
    run_.qat.train.trainer.freeze_norm = true;
    run_.qat.train.validate_start = true;
    run_.qat.train.qat = quantizers("w8a8");
    run_.qat.train.qat->norm_batches = 0;
  }

  test::TemporaryFolder folder_;
  quant::QuantizationConfig config_;
  RunOptions run_;
};

TEST_F(RunWithQat, ComparesTrainingWithItsStart) {
  run_.qat.in_root = true;
  const RunResult result = run_pipeline(run_);
  ASSERT_EQ(result.summary.variants.size(), 3U);
  const report::Variant& trained = result.summary.variants[2];
  EXPECT_EQ(trained.name, "w4a8_qat");
  EXPECT_EQ(trained.method, "qat");
  EXPECT_EQ(trained.op_counts, result.summary.variants[1].op_counts);
  EXPECT_EQ(trained.trained_from, "w4a8");
  ASSERT_TRUE(trained.gain);
  EXPECT_DOUBLE_EQ(trained.gain->estimate,
                   trained.map_50_95 - result.summary.variants[1].map_50_95);
  EXPECT_FALSE(result.summary.variants[1].gain);
  ASSERT_TRUE(trained.verification);
  EXPECT_LT(trained.verification->worst_conv, 1e-4);
  for (const char* file : {"results.csv", "stats.sqlite", "weights/best.pt", "weights/last.pt",
                           "summary.md", "results.png"}) {
    EXPECT_TRUE(fs::exists(run_.root / file)) << file;
  }
  run_.resume = true;
  for (const StageResult& stage : run_pipeline(run_).stages)
    EXPECT_TRUE(stage.skipped) << stage.name;
}

TEST_F(RunWithQat, GoesOnInTheMiddleOfTheTraining) {
  At stop("epoch 2/3", 2, [] { request_interrupt(SIGTERM); });
  EXPECT_THROW(run_pipeline(run_, stop), Interrupted);
  clear_interrupt();
  run_.resume = true;
  EXPECT_EQ(run_pipeline(run_).summary.variants.size(), 3U);
  run_.root = folder_ / "straight";
  run_.resume = false;
  const RunResult straight = run_pipeline(run_);
  const auto bytes = [&](const char* root) {
    return read_file(folder_ / root / "onnx/best_w4a8_qat.onnx");
  };
  EXPECT_TRUE(bytes("run") == bytes("straight"));
}

TEST_F(RunWithQat, AutoTrainsOnlyWhatLosesMoreThanTheBound) {
  run_.qat.when = QatWhen::kAuto;
  run_.qat.bound = 1;
  EXPECT_EQ(run_pipeline(run_).summary.variants.size(), 2U);
  run_.resume = true;
  run_.qat.bound = -1;
  EXPECT_EQ(run_pipeline(run_).summary.variants.size(), 3U);
}

TEST_F(RunWithQat, WhatCannotBeTrainedIsRefusedBeforeAnythingIsDone) {
  run_.quantize.layout = onnx::Layout::kDeploy;
  run_.variants = scheme_variants({"w8a8"}, config_);
  EXPECT_THAT(error_of([&] { run_pipeline(run_); }), HasSubstr("layout deploy"));
  run_.quantize.layout = onnx::Layout::kQcdq;
  run_.model = example().model.string();
  EXPECT_THAT(error_of([&] { run_pipeline(run_); }), HasSubstr("from a checkpoint"));
  EXPECT_FALSE(fs::exists(run_.root));
}

}  // namespace
}  // namespace yoloquant::pipeline

#include "quant/teacher.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/file.h"
#include "grid.h"
#include "model/model.h"
#include "quant/crops.h"
#include "quant/output_harm.h"
#include "quant/quantize.h"
#include "quant/student.h"
#include "quant/teacher_loss.h"
#include "small_graph.h"
#include "support/temporary_folder.h"
#include "tiny_detector.h"

namespace yoloquant::quant {
namespace {

TeacherOptions quick(int64_t steps) {
  TeacherOptions options;
  options.steps = steps;
  options.bfloat16 = false;
  options.warmup = 4;
  options.held_out = 0.25;
  options.checks = 4;
  options.average = 0.9;
  return options;
}

// What the tests tune: a model rounded to nearest, its images, and the loss of both on new images.
class TeacherTest : public testing::Test {
 protected:
  explicit TeacherTest(graph::Head head = graph::Head::kOneToMany)
      : reference_(tiny_detector(kTinyDetector, head)),
        images_(model::formula_tensor("images", {16, 3, 64, 64})) {
    config_.scheme = parse_scheme("w4a8");
    start_ = quantize(reference_, config_, images_).graph;
  }

  graph::Graph tune(const TeacherOptions& options, MethodState* state = nullptr,
                    Progress& progress = Progress::none()) {
    graph::Graph graph = start_;
    if (state != nullptr) {
      state->resume(graph);
      state->set_place(1);
    }
    const CalibrationOptions calibration;
    Budget budget(Effort::kFast, 1e9, 5);
    run_teacher(graph, {reference_, config_, images_, calibration, budget, progress, state},
                options);
    return graph;
  }

  double loss(const graph::Graph& graph) const { return loss(graph, find_taps(reference_)); }

  double loss(const graph::Graph& graph, const TeacherTaps& taps) const {
    MemoryCalibrationData unseen(model::formula_tensor("unseen", {4, 3, 64, 64}));
    const CropSource source(unseen, 0, 4);
    Random random(1);
    const at::Tensor images = source.draw_whole(random);
    const Student teacher(reference_, {.trainable = false});
    const Student student(graph, {});
    return teacher_loss(taps, student.forward(images, taps.values()),
                        teacher.forward(images, taps.values()), 64 * 64)
        .total.item<double>();
  }

  graph::Graph reference_;
  MemoryCalibrationData images_;
  QuantizationConfig config_;
  graph::Graph start_;
};

TEST_F(TeacherTest, ComesCloserToTheFloatModelOnImagesItHasNotSeen) {
  EXPECT_LT(loss(tune(quick(60))), 0.8 * loss(start_));
}

TEST_F(TeacherTest, WeightsAreOnTheirGridAndTheDflIsUntouched) {
  const graph::Graph tuned = tune(quick(20));
  expect_on_grid(tuned, 1e-6);
  EXPECT_TRUE(equal(tuned.parameter("model.3.dfl.conv.weight"),
                    start_.parameter("model.3.dfl.conv.weight")));
}

TEST_F(TeacherTest, KeepsTheStartWhenNothingIsBetter) {
  TeacherOptions wild = quick(8);
  wild.latent_rate = 50;
  wild.step_rate = 5;
  wild.bias_rate = 50;
  const graph::Graph tuned = tune(wild);
  for (const auto& [name, value] : start_.parameters) {
    if (!name.ends_with(".bias")) continue;
    EXPECT_TRUE(equal(value, tuned.parameter(name))) << name;
  }
}

// Ends the work after some updates, as an interruption does.
class StopAfter : public Progress {
 public:
  explicit StopAfter(int64_t updates) : left_(updates) {}
  void start(std::string_view, int64_t) override {}
  void update(int64_t, std::string_view) override {
    if (--left_ < 0) fail("stopped");
  }
  void finish() override {}

 private:
  int64_t left_;
};

TEST_F(TeacherTest, GoesOnFromWhereItWasStopped) {
  const test::TemporaryFolder folder;
  const graph::Graph whole = tune(quick(30));
  StopAfter stop(17);
  MethodState first(folder / "state", "f");
  EXPECT_THROW(tune(quick(30), &first, stop), Error);
  MethodState second(folder / "state", "f");
  const graph::Graph resumed = tune(quick(30), &second);
  for (const auto& [name, value] : whole.parameters) {
    EXPECT_TRUE(equal(value, resumed.parameter(name))) << name;
  }
}

TEST_F(TeacherTest, AStateOfOtherSettingsOrADamagedOneIsRefused) {
  const test::TemporaryFolder folder;
  MethodState(folder / "state", "f").save(start_);
  graph::Graph graph = start_;
  EXPECT_THROW(MethodState(folder / "state", "g").resume(graph), Error);
  EXPECT_EQ(MethodState(folder / "state", "f").resume(graph), 0);
  EXPECT_EQ(MethodState(folder / "none", "f").resume(graph), 0);
  write_file(folder / "state", "not a state");
  EXPECT_THROW(MethodState(folder / "state", "f").resume(graph), Error);
}

TEST_F(TeacherTest, StopsWhenItsTimeIsOver) {
  TeacherOptions options = quick(1'000'000'000);
  options.seconds = 0.2;
  tune(options);  // returns
}

class QuickTeacher : public Teacher {
 public:
  std::string_view name() const override { return "quick_teacher"; }
  void apply(graph::Graph& annotated, const MethodContext& context) override {
    run_teacher(annotated, context, quick(8));
  }
};

TEST_F(TeacherTest, TheConfigurationHoldsTheRangesThatWeightsWereTunedBehind) {
  register_method("quick_teacher", [] { return std::make_unique<QuickTeacher>(); });
  config_ = parse_config("{scheme: w4a4, method: quick_teacher}");
  const QuantizationResult tuned = quantize(reference_, config_, images_);
  QuantizationConfig again = tuned.config;
  again.method = "nearest";
  const QuantizationResult repeated = quantize(reference_, again, images_);
  int compared = 0;
  for (const auto& [conv, annotation] : tuned.graph.quantization) {
    // Behind a softmax the range is that of the values.
    if (conv == "model.3.dfl.conv") continue;
    const graph::Quantizer& one = *annotation.input;
    const graph::Quantizer& other = *repeated.graph.quantization.at(conv).input;
    EXPECT_NEAR(one.scale[0], other.scale[0], 1e-6 * one.scale[0]) << conv;
    EXPECT_EQ(one.zero_point, other.zero_point) << conv;
    ++compared;
  }
  EXPECT_GT(compared, 20);
}

class TeacherOfBothHeadsTest : public TeacherTest {
 protected:
  TeacherOfBothHeadsTest() : TeacherTest(graph::Head::kBoth) {}
};

TEST_F(TeacherOfBothHeadsTest, EachComesCloserToTheFloatModel) {
  const graph::Graph tuned = tune(quick(60));
  const TeacherTaps all = find_taps(reference_);
  ASSERT_EQ(all.head.values.size(), 4U);
  for (const int head : {0, 1}) {
    TeacherTaps one = all;
    one.head.values = {all.head.values[2 * head], all.head.values[2 * head + 1]};
    EXPECT_LT(loss(tuned, one), 0.8 * loss(start_, one)) << head;
  }
}

TEST(TeacherTaps, OfADetectorAreItsModulesAndTheLogitsOfItsHead) {
  const TeacherTaps taps = find_taps(tiny_detector());
  EXPECT_EQ(taps.features.size(), 2U);  // C2f and SCDown; a single conv is no block
  EXPECT_TRUE(taps.head.detection);
  EXPECT_EQ(taps.values().size(), 4U);
}

TEST(TeacherTaps, OfOtherGraphsAreTheirOutputs) {
  const TeacherTaps taps = find_taps(small_graph());
  EXPECT_FALSE(taps.head.detection);
  EXPECT_EQ(taps.values(), small_graph().outputs);
}

TEST(Teacher, TunesAGraphWithoutADetectionHead) {
  const graph::Graph reference = small_graph();
  MadeImages images(16, 32);
  QuantizationConfig config;
  config.scheme = parse_scheme("w3a16");
  graph::Graph graph = quantize(reference, config, images).graph;
  const graph::Graph start = graph;
  const CalibrationOptions calibration;
  Budget budget;
  run_teacher(graph, {reference, config, images, calibration, budget, Progress::none()}, quick(30));
  EXPECT_FALSE(equal(graph.parameter("last.conv.weight"), start.parameter("last.conv.weight")));
}

TEST(CropSource, ViewsAreOfTheModelsSizeAndInRange) {
  MemoryCalibrationData images(model::formula_tensor("images", {3, 3, 96, 64}));
  const CropSource source(images, 0, 3);
  Random random(2);
  for (int i = 0; i < 20; ++i) {
    for (const at::Tensor& view : {source.draw_anew(random), source.draw_whole(random)}) {
      EXPECT_EQ(view.sizes(), (std::vector<int64_t>{1, 3, 96, 64}));
      EXPECT_GE(view.min().item<float>(), 0);
      EXPECT_LE(view.max().item<float>(), 1);
    }
  }
}

}  // namespace
}  // namespace yoloquant::quant

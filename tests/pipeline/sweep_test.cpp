#include "pipeline/sweep.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/file.h"
#include "base/interrupt.h"
#include "checkpoint/checkpoint.h"
#include "report/results_csv.h"
#include "support/error_of.h"
#include "support/temporary_folder.h"

namespace yoloquant::pipeline {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

constexpr const char* kSweep = R"(
command: train
options: {epochs: 3}
grid: {lr0: [0.1, 0.2, 0.3], seed: [0, 1]}
stages: [{options: {model: n}}, {options: {model: s}, keep: 2}]
)";

// Stands in for the command: mAP grows with lr0 and falls with the seed.
class SweepTest : public testing::Test {
 protected:
  SweepResult run(const std::string& yaml = kSweep, bool resume = false) {
    commands_.clear();
    const SweepSpec spec = parse_sweep(yaml, "sweep.yaml");
    SweepRunOptions options;
    options.program = "program";
    options.resume = resume;
    options.launch = [this](const std::vector<std::string>& command, const std::string& log) {
      EXPECT_EQ(log, command.at(5) + ".log");
      stand_in(command);
    };
    options.say = [this](const std::string& line) { said_.push_back(line); };
    return run_sweep(spec, folder_ / "sweep", options);
  }

  void stand_in(const std::vector<std::string>& command) {
    commands_.push_back(command);
    const std::string config = read_file(command.at(3));
    if (config.find(broken_) != std::string::npos) fail("out of memory");
    if (static_cast<int>(commands_.size()) == interrupt_at_) throw Interrupted(2);
    if (write_results_) return write_results_(command.at(5));
    report::EpochRecord epoch;
    const size_t at = config.find("lr0: ");
    epoch.map = std::stod(config.substr(at + 5));
    if (config.find("seed: 1") != std::string::npos) *epoch.map -= 0.05;
    epoch.map50 = *epoch.map + 0.1;
    write_file(fs::path(command.at(5)) / "results.csv", report::results_csv({{epoch}}));
  }

  test::TemporaryFolder folder_;
  std::vector<std::vector<std::string>> commands_;
  std::vector<std::string> said_;
  std::string broken_ = "nothing";
  int interrupt_at_ = -1;
  std::function<void(const fs::path& folder)> write_results_;
};

TEST_F(SweepTest, RunsEveryCellAndTheBestAgainInTheNextStage) {
  const SweepResult result = run();
  ASSERT_EQ(result.cells.size(), 8U);
  EXPECT_EQ(result.failed, 0);
  EXPECT_EQ(commands_[0][1], "train");
  EXPECT_EQ(result.cells[6].cell.name, "lr0=0.3,seed=0");
  EXPECT_EQ(result.cells[7].cell.name, "lr0=0.3,seed=1");
  EXPECT_EQ(read_file(folder_ / "sweep/stage2/lr0=0.3,seed=0.yaml"),
            "epochs: 3\nmodel: s\nlr0: 0.3\nseed: 0\n");
  EXPECT_THAT(said_.front(), HasSubstr("[1/6] lr0=0.1,seed=0: mAP50-95 0.1000"));
  const auto json = nlohmann::json::parse(read_file(folder_ / "sweep/sweep.json"));
  EXPECT_EQ(json["cells"].size(), 8U);
  EXPECT_EQ(json["cells"][0]["options"]["lr0"], "0.3");  // best first
  EXPECT_NEAR(json["cells"][0]["mAP_50_95"].get<double>(), 0.3, 1e-6);
  EXPECT_THAT(read_file(folder_ / "sweep/sweep.md"), HasSubstr("8 runs, 0 failed"));
  EXPECT_THAT(read_file(folder_ / "sweep/sweep.csv"), HasSubstr("\n2,0.3,0,0.3000,0.4000,"));
}

// Where bits fall on the way, the highest figure is that of another model.
TEST_F(SweepTest, FiguresAreThoseOfTheWeightsThatWereKept) {
  write_results_ = [](const fs::path& folder) {
    std::vector<report::EpochRecord> epochs(3);
    for (size_t i = 0; i < epochs.size(); ++i) {
      epochs[i].epoch = static_cast<int64_t>(i) + 1;
      epochs[i].map = std::vector{0.5, 0.3, 0.2}[i];
      epochs[i].map50 = 0.6;
    }
    write_file(folder / "results.csv", report::results_csv(epochs));
    checkpoint::Checkpoint best;
    best.state["w"] = Tensor::from<float>({1}, std::vector<float>{1});
    best.epoch = 1;  // from 0
    checkpoint::write(folder / "weights/best.pt", best,
                      {.format = checkpoint::Format::kTorch, .dtype = {}});
  };
  EXPECT_EQ(run().cells[0].map, 0.3);
}

TEST_F(SweepTest, AFailedCellIsReportedAndTriedAgain) {
  broken_ = "lr0: 0.3";
  const SweepResult result = run();
  EXPECT_EQ(result.failed, 2);
  ASSERT_EQ(result.cells.size(), 8U);
  EXPECT_THAT(result.cells[4].error, HasSubstr("out of memory"));
  EXPECT_EQ(result.cells[6].cell.name, "lr0=0.2,seed=0");
  EXPECT_THAT(read_file(folder_ / "sweep/sweep.md"), HasSubstr("failed: "));
  broken_ = "nothing";
  EXPECT_EQ(run(kSweep, true).failed, 0);
  // The two, and the two that are best now.
  EXPECT_EQ(commands_.size(), 4U);
}

TEST_F(SweepTest, GoesOnAfterAnInterruption) {
  interrupt_at_ = 3;
  EXPECT_THROW(run(), Interrupted);
  interrupt_at_ = -1;
  EXPECT_THAT(test::error_of([&] { run(); }), HasSubstr("--resume"));
  // What the interrupted cell has saved is gone on with.
  write_file(folder_ / "sweep/stage1/lr0=0.2,seed=0/weights/last.pt", "weights");
  const SweepResult result = run(kSweep, true);
  EXPECT_EQ(result.cells.size(), 8U);
  ASSERT_EQ(commands_.size(), 6U);
  EXPECT_EQ(commands_[0].back(), "--resume");
  EXPECT_NE(commands_[1].back(), "--resume");
}

TEST_F(SweepTest, OtherOptionsRunAgain) {
  run();
  run("{command: train, grid: {lr0: [0.1]}, options: {epochs: 4}}", true);
  EXPECT_EQ(commands_.size(), 1U);
}

TEST(SweepOfRuns, TakesTheBestQuantizedFile) {
  const test::TemporaryFolder folder;
  SweepRunOptions options;
  options.program = "program";
  options.launch = [](const std::vector<std::string>& command, const std::string&) {
    write_file(fs::path(command.at(5)) / "summary.json", R"({"variants": [
      {"method": "", "mAP_50_95": 0.5, "mAP_50": 0.7},
      {"method": "gptq", "mAP_50_95": 0.4, "mAP_50": 0.6},
      {"method": "nearest", "mAP_50_95": 0.1, "mAP_50": 0.2}]})");
  };
  const SweepSpec spec = parse_sweep("{command: run, grid: {effort: [fast]}}", "s");
  const SweepResult result = run_sweep(spec, folder / "sweep", options);
  EXPECT_EQ(result.cells.at(0).map, 0.4);
  EXPECT_EQ(result.cells[0].folder, folder / "sweep/cells/effort=fast");
}

}  // namespace
}  // namespace yoloquant::pipeline

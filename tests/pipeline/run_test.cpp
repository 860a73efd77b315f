#include "pipeline/run.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <set>
#include <thread>

#include "base/error.h"
#include "base/interrupt.h"
#include "data/image.h"
#include "pipeline/demo.h"
#include "pipeline/run_root.h"
#include "pipeline/small_run.h"
#include "support/error_of.h"

namespace yoloquant::pipeline {
namespace {

using test::error_of;
namespace fs = std::filesystem;
using testing::HasSubstr;

size_t journal_lines(const fs::path& root) {
  const fs::path journal = root / "journal.jsonl";
  if (!fs::exists(journal)) return 0;
  const std::string text = read_file(journal);
  return static_cast<size_t>(std::count(text.begin(), text.end(), '\n'));
}

// What must not depend on interruptions: everything but times and the folder's name.
std::string without_times(const fs::path& root, const fs::path& file) {
  if (file.extension() != ".json") return read_file(root / file);
  auto json = nlohmann::json::parse(read_file(root / file));
  if (!json.is_object()) return json.dump(1);
  json.erase("onnx_path");
  if (json.contains("yoloquant")) json["yoloquant"].erase("seconds");
  return json.dump(1);
}

std::set<fs::path> result_files(const fs::path& root) {
  std::set<fs::path> files;
  for (const auto& entry : fs::recursive_directory_iterator(root)) {
    const fs::path below = entry.path().lexically_relative(root);
    const std::string first = below.begin()->string();
    if (entry.is_regular_file() && (first == "onnx" || first == "metrics")) files.insert(below);
  }
  return files;
}

// The process that is killed: this program with the same test, told what to do by the environment.
// (A fork alone would take over the locks of threads that it has not.)
constexpr const char* kChildFolder = "YOLOQUANT_TEST_RUN_FOLDER";
constexpr const char* kChildRoot = "YOLOQUANT_TEST_RUN_ROOT";

void run_as_child() {
  RunOptions options = test::small_run(std::getenv(kChildFolder));
  options.root = std::getenv(kChildRoot);
  options.resume = fs::exists(options.root / "journal.jsonl");
  run_pipeline(options);
}

pid_t start_run(const fs::path& folder, const fs::path& root) {
  const pid_t child = fork();
  if (child == 0) {
    setenv(kChildFolder, folder.c_str(), 1);
    setenv(kChildRoot, root.c_str(), 1);
    execl("/proc/self/exe", "pipeline_test",
          "--gtest_filter=RunPipeline.KilledAgainAndAgainItEndsTheSame", "--gtest_brief=1",
          nullptr);
    _exit(127);
  }
  return child;
}

enum class Ending { kFinished, kFailed, kKilled };

// Kills the run with SIGKILL `delay` after it has journaled another stage, unless it ends before.
Ending run_and_kill(const fs::path& folder, const fs::path& root, std::chrono::milliseconds delay) {
  const size_t before = journal_lines(root);
  const pid_t child = start_run(folder, root);
  int status = 0;
  bool stage_done = false;
  while (waitpid(child, &status, WNOHANG) == 0) {
    if (!stage_done && journal_lines(root) > before) {
      stage_done = true;
      std::this_thread::sleep_for(delay);
      kill(child, SIGKILL);
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  if (WIFSIGNALED(status)) return Ending::kKilled;
  return WEXITSTATUS(status) == 0 ? Ending::kFinished : Ending::kFailed;
}

TEST(RunPipeline, KilledAgainAndAgainItEndsTheSame) {
  if (std::getenv(kChildRoot) != nullptr) return run_as_child();
  const test::TemporaryFolder folder;
  int status = 0;
  waitpid(start_run(folder.path(), folder / "whole"), &status, 0);
  ASSERT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);

  // From just behind a journal entry to well into the next stage.
  constexpr int kDelays[] = {0, 3, 40, 0, 150, 10, 400, 1, 80};
  int kills = 0;
  Ending ending = Ending::kKilled;
  while (kills < 50) {
    ending = run_and_kill(folder.path(), folder / "killed",
                          std::chrono::milliseconds(kDelays[kills % 9]));
    if (ending != Ending::kKilled) break;
    ++kills;
  }
  EXPECT_EQ(ending, Ending::kFinished);
  EXPECT_GE(kills, 4);
  EXPECT_EQ(result_files(folder / "killed"), result_files(folder / "whole"));
  for (const fs::path& file : result_files(folder / "whole")) {
    EXPECT_EQ(without_times(folder / "killed", file), without_times(folder / "whole", file))
        << file;
  }
  // Nothing half-written is left, and no stage ran twice.
  for (const auto& entry : fs::recursive_directory_iterator(folder / "killed")) {
    EXPECT_THAT(entry.path().filename().string(), testing::Not(HasSubstr(".tmp")));
  }
  EXPECT_EQ(journal_lines(folder / "killed"), journal_lines(folder / "whole"));
}

TEST(RunPipeline, ResumeAddsASchemeAndSkipsTheRest) {
  const test::TemporaryFolder folder;
  RunOptions options = test::small_run(folder.path());
  const RunResult first = run_pipeline(options);
  EXPECT_THAT(error_of([&] { run_pipeline(options); }), HasSubstr("--resume"));
  options.resume = true;
  options.variants = scheme_variants({"w8a8", "w4a16"});
  options.eval.skip_latency = false;
  options.eval.latency_runs = 3;
  const RunResult second = run_pipeline(options);
  ASSERT_EQ(second.summary.variants.size(), 3U);
  for (const StageResult& stage : second.stages) {
    const bool same = stage.name == "export fp32" || stage.name == "calibration list" ||
                      stage.name == "quantize w8a8" || stage.name == "clean w8a8" ||
                      stage.name == "check w8a8";
    EXPECT_EQ(stage.skipped, same) << stage.name;
  }
  EXPECT_TRUE(second.summary.variants[2].latency.has_value());
}

TEST(RunPipeline, LeavesEverythingThatTheSummaryNames) {
  const test::TemporaryFolder folder;
  RunOptions options = test::small_run(folder.path());
  options.export_fp16 = true;
  options.eval.reference_score = 0.02;  // weights without training reach no more
  const RunResult result = run_pipeline(options);
  const fs::path root = options.root;
  for (const auto& [what, path] : result.summary.files) {
    EXPECT_TRUE(fs::is_regular_file(root / path)) << what << ": " << path;
  }
  ASSERT_EQ(result.summary.variants.size(), 3U);
  EXPECT_EQ(result.summary.variants[1].name, "fp16");
  EXPECT_LT(result.summary.variants[1].file_bytes, result.summary.variants[0].file_bytes * 6 / 10);
  const std::string text = read_file(root / "summary.md");
  for (const report::Variant& variant : result.summary.variants) {
    for (const std::string& path : {variant.onnx, variant.check, variant.metrics}) {
      EXPECT_TRUE(fs::is_regular_file(root / path)) << path;
      EXPECT_THAT(text, HasSubstr(path));
    }
    // Figures are those of the files.
    const auto metrics = nlohmann::json::parse(read_file(root / variant.metrics));
    EXPECT_EQ(variant.map_50_95, metrics["metrics"]["mAP_50_95"]);
    EXPECT_EQ(variant.file_bytes, static_cast<int64_t>(fs::file_size(root / variant.onnx)));
  }
  const auto fidelity = nlohmann::json::parse(read_file(root / "metrics/fidelity.json"));
  EXPECT_EQ(result.summary.variants[2].fidelity, fidelity["w8a8"]["fidelity"]);
  EXPECT_GE(result.summary.variants[2].fidelity, 0);
  EXPECT_GT(result.summary.variants[1].fidelity, 0.9);  // half precision
  EXPECT_EQ(fidelity["w8a8"]["per_image"].size(), 3U);
  EXPECT_THAT(text, HasSubstr(fmt::format("{:.4f} [", result.summary.variants[2].fidelity)));
  EXPECT_THAT(text, HasSubstr("accuracy means nothing"));
  EXPECT_LT(read_file(root / "calib.txt").find("# 3 calibration images"), 10U);
  const auto environment = nlohmann::json::parse(read_file(root / "environment.json"));
  for (const char* key : {"yoloquant", "cpu_model", "cpus", "gpus", "seeds", "input_sha256"}) {
    EXPECT_TRUE(environment.contains(key)) << key;
  }
  EXPECT_EQ(environment["input_sha256"][options.model], sha256_of_file(options.model));
  EXPECT_THAT(read_file(root / "config.yaml"), HasSubstr("scheme"));
  EXPECT_THAT(read_file(root / "logs/run.log"), HasSubstr("quantize w8a8: finished"));
}

// The calibration list in the run's folder, not the source, decides what is calibrated with.
TEST(RunPipeline, ChangedImageRepeatsQuantizationOnly) {
  const test::TemporaryFolder folder;
  RunOptions options = test::small_run(folder.path());
  run_pipeline(options);
  const data::ImageList images = data::read_image_list(options.root / "calib.txt");
  ASSERT_EQ(images.size(), 3U);
  data::Image grey(96, 80);
  std::fill(grey.bgr.begin(), grey.bgr.end(), uint8_t{90});
  data::write_image(images[0], grey);
  options.resume = true;
  for (const StageResult& stage : run_pipeline(options).stages) {
    if (stage.name == "quantize w8a8" || stage.name == "clean w8a8") {
      EXPECT_FALSE(stage.skipped) << stage.name;
    } else if (stage.name.ends_with("fp32") || stage.name == "calibration list") {
      EXPECT_TRUE(stage.skipped) << stage.name;
    }
  }
}

TEST(RunPipeline, InterruptedRunGoesOn) {
  const test::TemporaryFolder folder;
  RunOptions options = test::small_run(folder.path());
  // Asks for the interruption when a stage begins to work.
  struct Stopper : Progress {
    void start(std::string_view task, int64_t) override {
      if (task.starts_with("quantize")) request_interrupt(SIGINT);
    }
    void update(int64_t, std::string_view) override {}
    void finish() override {}
  } stopper;
  EXPECT_THROW(run_pipeline(options, stopper), Interrupted);
  clear_interrupt();
  EXPECT_EQ(journal_lines(options.root), 3U);  // export, calibration list, evaluation
  options.resume = true;
  EXPECT_EQ(run_pipeline(options).summary.variants.size(), 2U);
}

TEST(RunPipeline, BadRequestsAreRefusedBeforeAnythingIsWritten) {
  const test::TemporaryFolder folder;
  const RunOptions good = test::small_run(folder.path());
  const auto refused = [&](const std::function<void(RunOptions&)>& change) {
    RunOptions options = good;
    change(options);
    const std::string message = error_of([&] { run_pipeline(options); });
    EXPECT_FALSE(fs::exists(good.root)) << message;
    return message;
  };
  EXPECT_THAT(error_of([] { scheme_variants({"w8a8", "w99"}); }), HasSubstr("w99"));
  EXPECT_THAT(refused([](RunOptions& o) { o.variants.push_back(o.variants.front()); }),
              HasSubstr("two variants are called w8a8"));
  EXPECT_THAT(refused([](RunOptions& o) { o.variants.front().name = "a/b"; }), HasSubstr("a/b"));
  EXPECT_THAT(refused([](RunOptions& o) { o.eval.coco_root = ""; }), HasSubstr("--coco"));
  EXPECT_THAT(refused([](RunOptions& o) { o.eval.split = "nope"; }), HasSubstr("nope"));
  EXPECT_THAT(refused([](RunOptions& o) { o.name = "../up"; }), HasSubstr("../up"));
  EXPECT_THAT(refused([](RunOptions& o) { o.quantize.calibration.source = "/nowhere"; }),
              HasSubstr("/nowhere"));
}

// Two ways of quantization with the same bits, of which one is for comparison only.
TEST(RunPipeline, VariantsHaveSettingsOfTheirOwn) {
  const test::TemporaryFolder folder;
  RunOptions options = test::small_run(folder.path());
  quant::QuantizationConfig reference;
  reference.preset = quant::Preset::kReference;
  options.variants.push_back(scheme_variants({"w8a8"}, reference, "_reference").front());
  options.pictures = {.images = 2, .variants = {"w8a8_reference", "of another run"}};
  const RunResult result = run_pipeline(options);
  ASSERT_EQ(result.summary.variants.size(), 3U);
  EXPECT_EQ(result.summary.variants[1].method, "nearest");
  EXPECT_EQ(result.summary.variants[2].name, "w8a8_reference");
  EXPECT_EQ(result.summary.variants[2].method, "reference");
  // Two images beside each other, each by the baseline and one variant, with titles above.
  const data::Image pictures = data::read_image(options.root / "pictures.jpg");
  EXPECT_EQ(pictures.width, 4 * 96);
  EXPECT_GT(pictures.height, 80);
  EXPECT_THAT(read_file(options.root / "summary.md"), HasSubstr("](pictures.jpg)"));
  EXPECT_THAT(read_file(options.root / "config.yaml"), HasSubstr("w8a8_reference:"));
}

DemoOptions small_demo(const fs::path& root) {
  DemoOptions options;
  options.out = root;
  options.schemes = {"w4a8"};
  options.max_images = options.calib_images = 8;
  options.threads = 1;
  options.qat_epochs = 0;
  return options;
}

TEST(RunDemo, ShowsACollapseAndWhatHolds) {
  const test::TemporaryFolder folder;
  const RunResult result = run_demo(small_demo(folder / "demo"));
  const std::vector<report::Variant>& variants = result.summary.variants;
  ASSERT_EQ(variants.size(), 3U);
  EXPECT_EQ(variants[1].name, "w4a8_reference");
  EXPECT_GT(variants[0].map_50_95, 0.6);
  EXPECT_LT(variants[1].map_50_95, variants[0].map_50_95 - 0.25);
  EXPECT_GT(variants[2].map_50_95, variants[0].map_50_95 - 0.08);
  EXPECT_LT(variants[2].file_bytes, variants[0].file_bytes / 4);
  EXPECT_THAT(result.summary.warnings, testing::IsEmpty());
}

TEST(RunDemo, TrainsAndRepeatsNothing) {
  const test::TemporaryFolder folder;
  DemoOptions options = small_demo(folder / "demo");
  options.image_size = test::kSmallSize;
  options.max_images = options.calib_images = 2;
  options.qat_images = 4;
  options.qat_epochs = 1;
  const RunResult first = run_demo(options);
  ASSERT_EQ(first.summary.variants.size(), 4U);
  EXPECT_EQ(first.summary.variants[3].name, "w4a8_qat");
  EXPECT_TRUE(fs::is_regular_file(options.out / "qat/w4a8/results.csv"));
  EXPECT_TRUE(fs::is_regular_file(options.out / "pictures.jpg"));
  for (const StageResult& stage : run_demo(options).stages)
    EXPECT_TRUE(stage.skipped) << stage.name;
  options.data = folder / "demo/data";
  EXPECT_THAT(error_of([&] { run_demo(options); }), HasSubstr("--model"));
}

}  // namespace
}  // namespace yoloquant::pipeline

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "program.h"
#include "support/shared_data.h"

namespace yoloquant::test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

std::string quoted(const std::filesystem::path& path) { return "'" + path.string() + "'"; }

TEST(Quantize, WritesQcdqFilesThatEvaluate) {
  const TinyExample& tiny = tiny_example();
  const TemporaryFolder folder;
  const Outcome made = yoloquant(
      "quantize " + quoted(tiny.model) + " --imgsz 64 --scheme w8a8 --head one2many --calib " +
          quoted(tiny.coco / "train2017") + " --calib-images 4 --device cpu --out q.onnx --json",
      folder.path());
  ASSERT_EQ(made.status, 0) << made.err;
  const nlohmann::json result = made.json();
  EXPECT_EQ(result["calibration_images"], 4);
  EXPECT_GT(result["verification"]["images"].get<int>(), 0);

  const nlohmann::json counts =
      yoloquant("onnx check q.onnx --json", folder.path()).json()["op_counts"];
  const int convs = counts["Conv"].get<int>();
  EXPECT_EQ(convs, 84);
  EXPECT_EQ(counts["QuantizeLinear"], convs);
  EXPECT_EQ(counts["DequantizeLinear"], 2 * convs);
  EXPECT_EQ(counts["Clip"], convs);

  const Outcome eval = yoloquant("eval q.onnx --coco " + quoted(tiny.coco) +
                                     " --split val2017 --max-images 4 --latency-runs 2 "
                                     "--warmup-runs 1 --resamples 20 --out results --json",
                                 folder.path());
  ASSERT_EQ(eval.status, 0) << eval.err;
  EXPECT_EQ(eval.json(), nlohmann::json::parse(read_file(folder / "results/metrics.json")));
  for (const char* key : {"onnx_path", "data_root", "instances", "images_dir", "providers", "imgsz",
                          "max_images", "warmup_runs", "skip_latency", "conf", "iou", "max_det",
                          "pre_nms_topk", "metrics", "latency"}) {
    EXPECT_TRUE(eval.json().contains(key)) << key;
  }
  EXPECT_EQ(eval.json()["metrics"]["num_images"], 4);

  const Outcome predicted = yoloquant(
      "predict q.onnx " + quoted(tiny.coco / "val2017") + " --conf 0.001 --out predictions --json",
      folder.path());
  ASSERT_EQ(predicted.status, 0) << predicted.err;
  EXPECT_TRUE(std::filesystem::exists(folder / "predictions/predictions.json"));
}

TEST(Quantize, LayerRulesAndMisspelledOnes) {
  const TinyExample& tiny = tiny_example();
  const TemporaryFolder folder;
  const std::string command = "quantize " + quoted(tiny.model) +
                              " --imgsz 64 --scheme w4a16 --verify-images 0 --out q.onnx ";
  const Outcome made =
      yoloquant(command + "--layers '[{match: model.0.conv, skip: true}]' --json", folder.path());
  ASSERT_EQ(made.status, 0) << made.err;
  EXPECT_EQ(made.json()["check"]["op_counts"]["DequantizeLinear"], 83);
  const Outcome wrong =
      yoloquant(command + "--layers '[{match: mmodel.0.conv, skip: true}]'", folder.path());
  EXPECT_EQ(wrong.status, 2);
  EXPECT_THAT(wrong.err, HasSubstr("mmodel.0.conv"));
}

std::string run_arguments(const TinyExample& tiny) {
  return "run " + quoted(tiny.model) + " --coco " + quoted(tiny.coco) +
         " --schemes w8a8,w4a16 --method gptq --calib-images 4 --max-images 4 --imgsz 64 "
         "--latency-runs 2 "
         "--warmup-runs 1 --resamples 20 --device cpu --out root ";
}

TEST(Run, LeavesASummaryAndResumes) {
  const TinyExample& tiny = tiny_example();
  const TemporaryFolder folder;
  const Outcome first = yoloquant(run_arguments(tiny) + "--json", folder.path());
  ASSERT_EQ(first.status, 0) << first.err;
  EXPECT_THAT(first.json()["root"].get<std::string>(), HasSubstr("root"));
  const std::string summary = read_file(folder / "root/summary.md");
  EXPECT_THAT(summary, AllOf(HasSubstr("fp32"), HasSubstr("w8a8"), HasSubstr("w4a16")));
  EXPECT_TRUE(std::filesystem::exists(folder / "root/command.yaml"));

  const Outcome refused = yoloquant(run_arguments(tiny), folder.path());
  EXPECT_NE(refused.status, 0);
  EXPECT_THAT(refused.err, HasSubstr("--resume"));

  const auto written = std::filesystem::last_write_time(folder / "root/onnx/tiny_fp32.onnx");
  const Outcome resumed = yoloquant(run_arguments(tiny) + "--resume", folder.path());
  EXPECT_EQ(resumed.status, 0) << resumed.err;
  EXPECT_EQ(std::filesystem::last_write_time(folder / "root/onnx/tiny_fp32.onnx"), written);

  // What it was called with can be used again.
  const Outcome again = yoloquant("run root/command.yaml --dump-config", folder.path());
  EXPECT_EQ(again.status, 0) << again.err;
  EXPECT_THAT(again.out, HasSubstr("schemes: [w8a8, w4a16]"));
}

TEST(Run, GoesOnAfterKill9) {
  const TinyExample& tiny = tiny_example();
  const TemporaryFolder folder;
  // Killed as soon as the first stage is journaled, wherever that finds it.
  std::string output;
  run_command("cd '" + folder.path().string() + "' && { '" + yoloquant_program().string() + "' " +
                  run_arguments(tiny) +
                  ">/dev/null 2>&1 & } ; pid=$!; for i in $(seq 1200); do "
                  "[ -s root/journal.jsonl ] && break; kill -0 $pid 2>/dev/null || break; "
                  "sleep 0.05; done; kill -9 $pid; wait $pid",
              &output);
  ASSERT_TRUE(std::filesystem::exists(folder / "root/journal.jsonl")) << output;
  ASSERT_FALSE(std::filesystem::exists(folder / "root/summary.md"));
  const Outcome resumed = yoloquant(run_arguments(tiny) + "--resume", folder.path());
  ASSERT_EQ(resumed.status, 0) << resumed.err;
  EXPECT_TRUE(std::filesystem::exists(folder / "root/summary.md"));
}

TEST(Demo, RunsOnDrawnShapes) {
  const TemporaryFolder folder;
  const Outcome demo = yoloquant(
      "demo --max-images 2 --calib-images 2 --imgsz 64 --schemes w8a8 --qat-epochs 1 "
      "--qat-images 2 --out root --json",
      folder.path());
  ASSERT_EQ(demo.status, 0) << demo.err;
  EXPECT_TRUE(std::filesystem::exists(folder / "root/summary.md"));
  EXPECT_TRUE(std::filesystem::exists(folder / "root/pictures.jpg"));
  EXPECT_EQ(demo.json()["summary"]["variants"].size(), 4U);
}

TEST(Run, RealModelOnFourImages) {
  YQ_REQUIRE_SHARED();
  const std::filesystem::path data = shared_data();
  const TemporaryFolder folder;
  const Outcome run =
      yoloquant("run " + quoted(data / "weights/yolov10n.pt") + " --coco " + quoted(data / "coco") +
                    " --schemes w8a8 --calib " + quoted(data / "coco/calib100.txt") +
                    " --calib-images 4 --max-images 4 --imgsz 320 --latency-runs 2 --warmup-runs 1 "
                    "--resamples 20 --device cpu --out root --json",
                folder.path());
  ASSERT_EQ(run.status, 0) << run.err;
  const nlohmann::json variants = run.json()["summary"]["variants"];
  ASSERT_EQ(variants.size(), 2U);
  EXPECT_GT(variants[0].at("mAP_50_95").get<double>(), 0.3);
  EXPECT_NEAR(variants[1].at("mAP_50_95").get<double>(), variants[0].at("mAP_50_95").get<double>(),
              0.05);
}

TEST(Sweep, RunsEachCellInAProcessOfItsOwnAndGoesOn) {
  const TinyExample& tiny = tiny_example();
  const TemporaryFolder folder;
  const auto write = [&](const std::string& grid) {
    write_file(
        folder / "sweep.yaml",
        "command: run\noptions: {model: " + quoted(tiny.model) + ", coco: " + quoted(tiny.coco) +
            ", imgsz: 64, schemes: [w8a16], max_images: 2, skip_latency: true, resamples: 0}\n"
            "grid: {" +
            grid + "}\n");
  };
  const auto sweep = [&] {
    return yoloquant("sweep sweep.yaml --out out --resume --json", folder.path());
  };
  write("preset: [none, wrong]");
  const Outcome first = sweep();
  EXPECT_EQ(first.status, 1);
  EXPECT_THAT(first.err, HasSubstr("1 of 2 runs failed"));
  EXPECT_EQ(first.json()["cells"][0]["options"]["preset"], "none");
  EXPECT_EQ(first.json()["cells"][1]["mAP_50_95"], nullptr);
  EXPECT_TRUE(std::filesystem::exists(folder / "out/cells/preset=none/summary.md"));
  write("preset: [none, reference]");
  const auto journal = [&] { return read_file(folder / "out/journal.jsonl"); };
  const std::string before = journal();
  const Outcome second = sweep();
  EXPECT_EQ(second.status, 0) << second.err;
  EXPECT_TRUE(journal().starts_with(before));
  EXPECT_EQ(second.json()["cells"].size(), 2U);
  EXPECT_EQ(journal().find("preset=none", before.size()), std::string::npos);
}

}  // namespace
}  // namespace yoloquant::test

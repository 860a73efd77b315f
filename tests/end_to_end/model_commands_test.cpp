#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "program.h"
#include "support/shared_data.h"

namespace yoloquant::test {
namespace {

using ::testing::HasSubstr;

TEST(Info, DescribesBuiltInDefinitions) {
  const nlohmann::json info = yoloquant("info yolov10n.yaml --json").json();
  EXPECT_EQ(info["parameters"], 2775520);
  EXPECT_EQ(info["convs"], 108);
  EXPECT_EQ(info["classes"], 80);
  EXPECT_EQ(info["strides"], nlohmann::json({8, 16, 32}));
  EXPECT_EQ(info["heads"]["one2many"]["convs"], 84);
  // Ultralytics reports 8.7 GFLOPs for both heads (with batch norms), 6.7 for one.
  EXPECT_NEAR(info["gflops"].get<double>(), 8.65, 0.1);
  EXPECT_NEAR(info["heads"]["one2one"]["gflops"].get<double>(), 6.7, 0.1);
  EXPECT_NEAR(yoloquant("info yolov10n.yaml --imgsz 320 --json").json()["gflops"].get<double>(),
              info["gflops"].get<double>() / 4, 0.1);
  EXPECT_THAT(yoloquant("info yolov10n.yaml").out, HasSubstr("2775520"));
}

TEST(Export, WritesEveryHeadAndPrecision) {
  const TemporaryFolder folder;
  const auto shape_of = [&](const std::string& options) {
    const Outcome made =
        yoloquant("export yolov10n.yaml --json --out m.onnx --imgsz " + options, folder.path());
    EXPECT_EQ(made.status, 0) << made.err;
    const nlohmann::json check = yoloquant("onnx check m.onnx --json", folder.path()).json();
    EXPECT_EQ(check["inputs"].size(), 1U);
    EXPECT_EQ(check["inputs"][0]["name"], "images");
    EXPECT_EQ(check["outputs"].size(), 1U);
    EXPECT_EQ(check["outputs"][0]["name"], "output0");
    EXPECT_EQ(check["file_bytes"], std::filesystem::file_size(folder / "m.onnx"));
    EXPECT_EQ(made.json()["check"]["op_counts"], check["op_counts"]);
    return check["outputs"][0]["shape"];
  };
  EXPECT_EQ(shape_of("64 --head one2many --precision fp32"), nlohmann::json({1, 84, 84}));
  EXPECT_EQ(shape_of("64 --head one2one --precision fp16 --opset 17"), nlohmann::json({1, 84, 84}));
  EXPECT_EQ(shape_of("64 --head end2end --batch 2 --max-det 20"), nlohmann::json({2, 20, 6}));
  EXPECT_EQ(shape_of("32x64 --dynamic")[0], "batch");
}

TEST(Export, WeightsFollowTheSeed) {
  const TemporaryFolder folder;
  for (const char* arguments : {"--seed 1 --out a.onnx", "--seed 1 --out b.onnx",
                                "--seed 2 --out c.onnx", "--out formula.onnx"}) {
    ASSERT_EQ(yoloquant(std::string("export yolov10n.yaml --imgsz 64 ") + arguments, folder.path())
                  .status,
              0);
  }
  EXPECT_EQ(sha256_of_file(folder / "a.onnx"), sha256_of_file(folder / "b.onnx"));
  EXPECT_NE(sha256_of_file(folder / "a.onnx"), sha256_of_file(folder / "c.onnx"));
  EXPECT_NE(sha256_of_file(folder / "a.onnx"), sha256_of_file(folder / "formula.onnx"));
}

TEST(Onnx, CleanProvesAndDiffShowsDifferences) {
  const TemporaryFolder folder;
  ASSERT_EQ(yoloquant("export yolov10n.yaml --imgsz 64 --out a.onnx", folder.path()).status, 0);
  ASSERT_EQ(
      yoloquant("export yolov10n.yaml --imgsz 64 --seed 3 --out b.onnx", folder.path()).status, 0);
  const Outcome clean = yoloquant("onnx clean a.onnx --out clean.onnx --json", folder.path());
  ASSERT_EQ(clean.status, 0) << clean.err;
  EXPECT_EQ(clean.json()["equal_outputs"], true);
  EXPECT_EQ(yoloquant("onnx diff a.onnx clean.onnx --json", folder.path()).json()["max_abs"], 0);

  const nlohmann::json diff =
      yoloquant("onnx diff a.onnx b.onnx --per-node --json", folder.path()).json();
  EXPECT_GT(diff["max_abs"].get<double>(), 0.01);
  EXPECT_GT(diff["nodes"].size(), 50U);
  EXPECT_EQ(diff["outputs"][0]["name"], "output0");

  const TinyExample& tiny = tiny_example();
  const Outcome images = yoloquant("onnx diff a.onnx b.onnx --images '" +
                                       (tiny.coco / "val2017").string() + "' --max-images 2 --json",
                                   folder.path());
  ASSERT_EQ(images.status, 0) << images.err;
  EXPECT_GT(images.json()["outputs"][0]["max_abs"].get<double>(), 0.01);
}

TEST(Eval, ComparesWithAnotherModelWithoutLabels) {
  const TinyExample& tiny = tiny_example();
  const TemporaryFolder folder;
  const std::string exported = "export '" + tiny.model.string() + "' --imgsz 64 --out ";
  ASSERT_EQ(yoloquant(exported + "1.onnx", folder.path()).status, 0);
  ASSERT_EQ(yoloquant(exported + "2.onnx --seed 2", folder.path()).status, 0);
  const std::string all = " --against 1.onnx --images '" + (tiny.coco / "val2017").string() +
                          "' --resamples 20 --max-images 4 --out results ";
  const std::string rest = all + "--reference-score 0.01 ";
  const Outcome same = yoloquant("eval 1.onnx" + rest + "--json", folder.path());
  ASSERT_EQ(same.status, 0) << same.err;
  EXPECT_NEAR(same.json()["metrics"]["fidelity"].get<double>(), 1, 1e-9);
  EXPECT_EQ(same.json()["metrics"]["num_images"], 4);
  EXPECT_EQ(same.json(), nlohmann::json::parse(read_file(folder / "results/fidelity.json")));
  const Outcome other = yoloquant("eval 2.onnx" + rest, folder.path());
  ASSERT_EQ(other.status, 0) << other.err;
  EXPECT_THAT(other.out, HasSubstr("worst images"));
  EXPECT_THAT(other.out, ::testing::Not(HasSubstr("fidelity 1.0000")));
  const Outcome nothing = yoloquant("eval 2.onnx" + all + "--reference-score 1", folder.path());
  EXPECT_EQ(nothing.status, 1);
  EXPECT_THAT(nothing.err, HasSubstr("--reference-score"));
}

TEST(Bench, ComparesFiles) {
  const TemporaryFolder folder;
  ASSERT_EQ(yoloquant("export yolov10n.yaml --imgsz 64 --out a.onnx", folder.path()).status, 0);
  const Outcome bench =
      yoloquant("bench a.onnx a.onnx --runs 3 --warmup-runs 1 --threads 1 --json", folder.path());
  ASSERT_EQ(bench.status, 0) << bench.err;
  EXPECT_THAT(bench.out, HasSubstr("median_ms"));
}

TEST(Calib, DrawsBySeed) {
  const TemporaryFolder folder;
  const TinyExample& tiny = tiny_example();
  const std::string coco = "calib '" + tiny.coco.string() + "' --count 3 ";
  const Outcome first = yoloquant(coco + "--seed 1 --out a.txt --json", folder.path());
  ASSERT_EQ(first.status, 0) << first.err;
  EXPECT_EQ(first.json()["images"], 3);
  ASSERT_EQ(yoloquant(coco + "--seed 1 --out b.txt", folder.path()).status, 0);
  ASSERT_EQ(yoloquant(coco + "--seed 2 --out c.txt", folder.path()).status, 0);
  const auto list = [&](const char* name) {
    const std::string text = read_file(folder / name);
    return text.substr(text.find("\n/"));
  };
  EXPECT_EQ(list("a.txt"), list("b.txt"));
  EXPECT_NE(list("a.txt"), list("c.txt"));
}

TEST(Shapes, WritesADataSetOnce) {
  const TemporaryFolder folder;
  const std::string made = "shapes --train-images 3 --val-images 2 --width 64 --height 48 --out s";
  EXPECT_EQ(yoloquant(made + " --json", folder.path()).json()["train_images"], 3);
  const auto labels =
      nlohmann::json::parse(read_file(folder / "s/annotations/instances_train2017.json"));
  EXPECT_EQ(labels["images"].size(), 3U);
  EXPECT_EQ(labels["categories"].size(), 6U);
  EXPECT_EQ(yoloquant(made, folder.path()).status, 0);
  const Outcome other = yoloquant(made + " --seed 1", folder.path());
  EXPECT_EQ(other.status, 1);
  EXPECT_THAT(other.err, HasSubstr("use another folder"));
}

TEST(Checkpoint, ShowsAndConvertsRealFiles) {
  YQ_REQUIRE_SHARED();
  const TemporaryFolder folder;
  const std::filesystem::path base = shared_data() / "weights";
  const std::string state = (base / "tiny_training_state.pt").string();
  const nlohmann::json shown = yoloquant("checkpoint show '" + state + "' --json").json();
  EXPECT_EQ(shown["entry"], "ema");
  EXPECT_EQ(shown["classes"], 3);
  EXPECT_FALSE(shown["optimizer"]["param_groups"].empty());
  EXPECT_EQ(shown["tensors"].size(), shown["tensor_count"].get<size_t>());

  const std::string model = (base / "yolov10n.pt").string();
  for (const char* name : {"a.safetensors", "b.pt"}) {
    SCOPED_TRACE(name);
    const Outcome made = yoloquant("checkpoint convert '" + model + "' " + name, folder.path());
    ASSERT_EQ(made.status, 0) << made.err;
    const nlohmann::json info = yoloquant(std::string("info --json ") + name, folder.path()).json();
    EXPECT_EQ(info["parameters"], 2775520);
    ASSERT_EQ(yoloquant("export '" + model + "' --imgsz 64 --out a.onnx", folder.path()).status, 0);
    ASSERT_EQ(
        yoloquant(std::string("export --imgsz 64 --out b.onnx ") + name, folder.path()).status, 0);
    EXPECT_EQ(yoloquant("onnx diff a.onnx b.onnx --json", folder.path()).json()["max_abs"], 0);
  }
}

}  // namespace
}  // namespace yoloquant::test

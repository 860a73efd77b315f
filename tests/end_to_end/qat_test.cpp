#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <csignal>

#include "base/file.h"
#include "training.h"

// Training with quantizers, as a user starts it.
namespace yoloquant::test {
namespace {

namespace fs = std::filesystem;

using ::testing::HasSubstr;

std::string scheme_arguments() {
  return train_arguments("run") + " --scheme w4a8 --freezing --dampening 1e-4 --norm-batches 2";
}

TEST(TrainScheme, AfterKill9TheFinalWeightsAreTheSame) {
  const TemporaryFolder folder;
  const Outcome straight = yoloquant(scheme_arguments(), folder.path());
  ASSERT_EQ(straight.status, 0) << straight.err;
  fs::rename(folder / "run", folder / "straight");
  const int status = disturbed_training(scheme_arguments(), folder.path(),
                                        [](int process) { kill(process, SIGKILL); });
  ASSERT_TRUE(WIFSIGNALED(status)) << read_file(folder / "err");
  const Outcome outcome = yoloquant(scheme_arguments() + " --resume", folder.path());
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  const checkpoint::Checkpoint actual = last_of(folder / "run");
  for (const auto& [name, value] : last_of(folder / "straight").state) {
    EXPECT_TRUE(equal(actual.state.at(name), value)) << name;
  }
}

TEST(Qat, GoesFromACheckpointToAFileAndAComparison) {
  const TemporaryFolder folder;
  const Outcome trained = yoloquant(train_arguments("float"), folder.path());
  ASSERT_EQ(trained.status, 0) << trained.err;
  const Outcome outcome =
      yoloquant("qat float/weights/best.pt --coco '" + tiny_example().coco.string() +
                    "' --imgsz 64 --scheme w4a8 --method nearest --epochs 2 --batch 2 --workers 1 "
                    "--device cpu --threads 1 --out run",
                folder.path());
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_THAT(read_file(folder / "run/summary.md"), HasSubstr("| w4a8_qat | qat "));
  const Outcome check = yoloquant("onnx check run/onnx/best_w4a8_qat.onnx --json", folder.path());
  ASSERT_EQ(check.status, 0) << check.err;
  const nlohmann::json counts = check.json()["op_counts"];
  EXPECT_EQ(counts["QuantizeLinear"], counts["Conv"]);
  EXPECT_EQ(counts["DequantizeLinear"], 2 * counts["Conv"].get<int>());
  // The tiny model finds nothing, before or after: its start is as good as anything.
  EXPECT_THAT(outcome.err, HasSubstr("the post-training result is kept"));
  EXPECT_EQ(read_file(folder / "run/onnx/best_w4a8_qat.onnx"),
            read_file(folder / "run/onnx/best_w4a8.onnx"));
}

TEST(Qat, WrongUse) {
  const TemporaryFolder folder;
  const TinyExample& tiny = tiny_example();
  const std::string data = " --imgsz 64 --coco '" + tiny.coco.string() + "' --out run";
  const Outcome definition = yoloquant("qat '" + tiny.model.string() + "'" + data, folder.path());
  EXPECT_EQ(definition.status, 2);
  EXPECT_THAT(definition.err, HasSubstr("checkpoint"));
  const Outcome scheme = yoloquant(train_arguments("run") + " --scheme w40a8", folder.path());
  EXPECT_EQ(scheme.status, 2);
  EXPECT_THAT(scheme.err, HasSubstr("w40a8"));
  EXPECT_FALSE(fs::exists(folder / "run"));
}

}  // namespace
}  // namespace yoloquant::test

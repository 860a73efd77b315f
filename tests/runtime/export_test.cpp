#include <gtest/gtest.h>

#include "exec/executor.h"
#include "graph/passes.h"
#include "model/model.h"
#include "onnx/check.h"
#include "onnx/writer.h"
#include "runtime/diff.h"
#include "runtime/session.h"
#include "support/npy.h"
#include "support/shared_data.h"
#include "support/temporary_folder.h"

// Files made of the real model definitions, run in ONNX Runtime and compared with the executor.
namespace yoloquant {
namespace {

using graph::Head;
using onnx::Precision;

graph::Graph formula_model(const std::string& name, int64_t height = 64, int64_t width = 64) {
  graph::Graph graph = model::build(model::load_definition(name + ".yaml"), height, width);
  model::set_formula_parameters(graph);
  return graph;
}

const runtime::SessionOptions kCpu{.provider = runtime::Provider::kCpu, .threads = 2};

Tensor run_file(const graph::Graph& graph, const onnx::WriteOptions& options, const Tensor& image) {
  return runtime::Session::from_bytes(onnx::serialize(graph, options), kCpu).run({image}).at(0);
}

Tensor run_executor(const graph::Graph& graph, const Tensor& image) {
  return exec::Executor(graph, {.device = "cpu"}).run({image}).at(0);
}

class EveryModel : public testing::TestWithParam<std::string> {};

TEST_P(EveryModel, GivesTheExecutorsOutputs) {
  const graph::Graph model = formula_model(GetParam());
  const Tensor image = model::formula_tensor("images", {1, 3, 64, 64});
  const graph::Graph graph = for_inference(model, Head::kOneToMany);
  EXPECT_LT(test::relative_error(run_file(graph, {}, image), run_executor(graph, image)), 1e-4);
  const graph::Graph one2one = for_inference(model, Head::kOneToOne);
  EXPECT_LT(
      test::relative_error(run_file(one2one, {.opset = 17}, image), run_executor(one2one, image)),
      1e-4);
}

INSTANTIATE_TEST_SUITE_P(Yolov10, EveryModel,
                         testing::Values("yolov10n", "yolov10s", "yolov10m", "yolov10b", "yolov10l",
                                         "yolov10x"),
                         [](const auto& variant) { return variant.param; });

}  // namespace
}  // namespace yoloquant

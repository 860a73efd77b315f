#include <ATen/core/Tensor.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/error.h"
#include "exec/convert.h"
#include "exec/executor.h"
#include "model/model.h"
#include "support/models.h"

namespace yoloquant::exec {
namespace {

class RunChanged : public testing::Test {
 protected:
  RunChanged()
      : graph_(test::formula_graph("yolov10n", graph::Head::kOneToMany)),
        image_(model::formula_tensor("images", {1, 3, 64, 64})),
        annotated_(graph_) {
    test::annotate(annotated_, 4, /*inputs=*/true);
  }

  // What a fresh executor gives for the same changes.
  at::Tensor whole_run(const std::vector<std::string>& convs) const {
    graph::Graph changed = graph_;
    for (const std::string& conv : convs) {
      changed.quantization[conv] = annotated_.quantization.at(conv);
    }
    return Executor(changed, {.device = "cpu"}).run(std::vector<at::Tensor>{view_of(image_)}).at(0);
  }

  graph::Graph graph_;
  Tensor image_;
  graph::Graph annotated_;
};

TEST_F(RunChanged, GivesToTheBitWhatAWholeRunDoes) {
  Executor executor(graph_, {.device = "cpu"});
  const std::vector<at::Tensor> values = executor.run_all({view_of(image_)});
  const at::Tensor before = values.at(graph_.outputs[0]).clone();
  EXPECT_TRUE(before.equal(whole_run({})));
  const std::vector<std::string> names = conv_names(graph_);
  for (const std::vector<std::string>& convs : std::vector<std::vector<std::string>>{
           {names.front()}, {names[names.size() / 2]}, {names.back()}, {names[3], names[40]}}) {
    SCOPED_TRACE(convs.front());
    for (const std::string& conv : convs) {
      executor.set_quantization(conv, annotated_.quantization.at(conv));
    }
    const at::Tensor output = executor.run_changed(values, convs, graph_.outputs).at(0);
    EXPECT_TRUE(output.equal(whole_run(convs)));
    EXPECT_FALSE(output.equal(before));
    for (const std::string& conv : convs) executor.set_quantization(conv, {});
    EXPECT_TRUE(executor.run_changed(values, convs, graph_.outputs).at(0).equal(before));
  }
  EXPECT_TRUE(values.at(graph_.outputs[0]).equal(before)) << "the recorded values have changed";
}

TEST_F(RunChanged, RunsOnlyWhatIsAffectedAndWanted) {
  Executor executor(graph_, {.device = "cpu"});
  const std::vector<at::Tensor> values = executor.run_all({view_of(image_)});
  std::vector<std::string> seen;
  executor.set_tap([&](const graph::Node& node, const std::vector<at::Tensor>&,
                       const std::vector<at::Tensor>&) { seen.push_back(node.name); });
  EXPECT_TRUE(
      executor.run_changed(values, {}, graph_.outputs).at(0).equal(values.at(graph_.outputs[0])));
  EXPECT_TRUE(seen.empty());
  const graph::Node* conv = graph_.find_node("model.10.attn.proj.conv");
  ASSERT_NE(conv, nullptr);
  executor.run_changed(values, {conv->name}, conv->outputs);
  EXPECT_EQ(seen, std::vector<std::string>{conv->name});
  EXPECT_THROW(executor.run_changed(values, {"no.such.node"}, graph_.outputs), Error);
  EXPECT_THROW(executor.run_changed({}, {conv->name}, graph_.outputs), Error);
}

}  // namespace
}  // namespace yoloquant::exec

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "graph/graph.h"
#include "graph/passes.h"

namespace yoloquant::graph {
namespace {

// A graph with one input x of the given shape.
struct Fixture {
  explicit Fixture(Shape shape) {
    x = graph.add_value("x");
    graph.values[x].shape = std::move(shape);
    graph.inputs = {x};
  }
  ValueId conv(const std::string& name, ValueId input, Shape weight, Conv op) {
    graph.parameters[name + ".weight"] = Tensor(DType::kFloat32, weight);
    if (op.has_bias) graph.parameters[name + ".bias"] = Tensor(DType::kFloat32, {weight[0]});
    return graph.add_node(name, op, {input});
  }
  Shape shape_of(ValueId value) {
    infer_shapes(graph);
    return graph.values[value].shape;
  }
  std::string error() {
    try {
      infer_shapes(graph);
      check(graph);
    } catch (const Error& e) {
      return e.what();
    }
    return "";
  }
  Graph graph;
  ValueId x;
};

TEST(Shapes, OfConvsAndPools) {
  Fixture f({2, 3, 32, 20});
  const ValueId y = f.conv("c", f.x, {8, 3, 3, 3},
                           {.stride = {2, 1}, .padding = {1, 1, 1, 0}, .dilation = {1, 2}});
  EXPECT_EQ(f.shape_of(y), (Shape{2, 8, 16, 17}));
  const ValueId z = f.graph.add_node(
      "p", MaxPool{.kernel = {5, 5}, .stride = {1, 1}, .padding = {2, 2, 2, 2}}, {y});
  EXPECT_EQ(f.shape_of(z), (Shape{2, 8, 16, 17}));
  EXPECT_EQ(f.shape_of(f.graph.add_node("u", Upsample{3}, {z})), (Shape{2, 8, 48, 51}));
}

TEST(Shapes, OfReshapeWithEveryKindOfEntry) {
  Fixture f({2, 6, 4, 5});
  const ValueId flat = f.graph.add_node("flat", Reshape{{0, 6, -1}}, {f.x});
  EXPECT_EQ(f.shape_of(flat), (Shape{2, 6, 20}));
  const ValueId back = f.graph.add_node("back", Reshape{{-2, 6, -2, -2}}, {flat, f.x});
  EXPECT_EQ(f.shape_of(back), (Shape{2, 6, 4, 5}));
}

TEST(Shapes, OfBroadcastSplitConcatAndAnchors) {
  Fixture f({1, 6, 4, 4});
  const std::vector<ValueId> parts = f.graph.add_node("s", Split{1, {2, 4}}, {f.x}, 2);
  EXPECT_EQ(f.shape_of(parts[1]), (Shape{1, 4, 4, 4}));
  const ValueId joined = f.graph.add_node("c", Concat{-3}, {parts[1], parts[0], parts[1]});
  EXPECT_EQ(f.shape_of(joined), (Shape{1, 10, 4, 4}));
  f.graph.parameters["k.value"] = Tensor(DType::kFloat32, {10, 1, 1});
  const ValueId k = f.graph.add_node("k", Constant{}, {});
  EXPECT_EQ(f.shape_of(f.graph.add_node("m", Elementwise{}, {k, joined})), (Shape{1, 10, 4, 4}));
  const auto grid = f.graph.add_node("a", AnchorGrid{{8, 16}}, {f.x, joined}, 2);
  EXPECT_EQ(f.shape_of(grid[0]), (Shape{1, 2, 32}));
  EXPECT_EQ(f.graph.values[grid[1]].shape, (Shape{1, 1, 32}));
}

TEST(Shapes, ErrorsNameTheNode) {
  Fixture channels({1, 4, 8, 8});
  channels.conv("model.0.conv", channels.x, {8, 3, 3, 3}, {});
  EXPECT_THAT(channels.error(), testing::StartsWith("model.0.conv: weight [8, 3, 3, 3]"));
  Fixture small({1, 3, 2, 2});
  small.conv("c", small.x, {8, 3, 5, 5}, {});
  EXPECT_THAT(small.error(), testing::HasSubstr("smaller than the kernel"));
  Fixture split({1, 5, 2, 2});
  split.graph.add_node("s", Split{1, {2, 2}}, {split.x}, 2);
  EXPECT_THAT(split.error(), testing::HasSubstr("parts add up to 4, not 5"));
}

TEST(Check, FindsEachKindOfDamage) {
  const auto damaged = [](auto damage) {
    Fixture f({1, 3, 8, 8});
    const ValueId y = f.conv("a", f.x, {4, 3, 1, 1}, {.has_bias = true});
    f.graph.outputs = {f.graph.add_node("b", Activation{}, {y})};
    damage(f.graph);
    return f.error();
  };
  EXPECT_EQ(damaged([](Graph&) {}), "");
  EXPECT_THAT(damaged([](Graph& g) { g.nodes[1].name = "a"; }), testing::HasSubstr("two nodes"));
  EXPECT_THAT(damaged([](Graph& g) { std::swap(g.nodes[0], g.nodes[1]); }),
              testing::HasSubstr("before it is made"));
  EXPECT_THAT(damaged([](Graph& g) { g.parameters.erase("a.bias"); }),
              testing::HasSubstr("no parameter a.bias"));
  EXPECT_THAT(damaged([](Graph& g) { g.nodes[1].inputs.push_back(0); }),
              testing::HasSubstr("has 2 inputs"));
  EXPECT_THAT(damaged([](Graph& g) { g.quantization["b"] = {}; }), testing::HasSubstr("no conv"));
  EXPECT_THAT(damaged([](Graph& g) {
                g.quantization["a"].weight = Quantizer{.scale = {1.0F}, .zero_point = {0}};
                g.quantization["a"].weight->axis = 0;
              }),
              testing::HasSubstr("1 scales"));
}

TEST(SetInputShape, WantsMultiplesOfTheStride) {
  Fixture f({1, 3, 64, 64});
  f.graph.metadata.strides = {8, 32};
  EXPECT_THROW(set_input_shape(f.graph, {1, 3, 48, 64}), Error);
  EXPECT_NO_THROW(set_input_shape(f.graph, {4, 3, 96, 32}));
}

TEST(Quantizer, RoundsTiesToEvenAndSaturates) {
  const Quantizer q{
      .bits = 4, .qmin = -8, .qmax = 7, .axis = -1, .scale = {0.5F}, .zero_point = {0}};
  const Tensor x = Tensor::from<float>({6}, {0.25F, 0.75F, -0.25F, 100.0F, -100.0F, NAN});
  const Tensor codes = quantize(x, q);
  EXPECT_THAT(codes.data<int8_t>(), testing::ElementsAre(0, 2, 0, 7, -8, -8));
  EXPECT_THAT(dequantize(codes, q).data<float>(), testing::ElementsAre(0, 1, 0, 3.5, -4, -4));
}

TEST(Quantizer, ScalesPerChannelAlongAnyAxis) {
  const Quantizer q{
      .bits = 8, .qmin = 0, .qmax = 255, .axis = 1, .scale = {1, 2}, .zero_point = {10, 0}};
  const Tensor x = Tensor::from<float>({2, 2, 1}, {-20, 8, 5, 7});
  EXPECT_THAT(quantize(x, q).data<uint8_t>(), testing::ElementsAre(0, 4, 15, 4));
  EXPECT_THAT(dequantize(quantize(x, q), q).data<float>(), testing::ElementsAre(-10, 8, 5, 8));
}

TEST(KeepHead, NamesTheHeadsItKnows) {
  EXPECT_EQ(parse_head("end2end"), Head::kEndToEnd);
  EXPECT_THROW(parse_head("one2few"), Error);
}

}  // namespace
}  // namespace yoloquant::graph

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

#include "base/random.h"
#include "graph/graph.h"
#include "onnx/writer.h"
#include "runtime/session.h"

// Each operator's ONNX nodes against a plain computation here.
namespace yoloquant {
namespace {

using graph::Graph;
using graph::ValueId;

using Values = std::vector<float>;

Tensor random_tensor(const Shape& shape, uint64_t seed, float low = -2, float high = 2) {
  Random random(seed);
  Tensor tensor(DType::kFloat32, shape);
  for (float& value : tensor.mutable_data<float>()) value = random.uniform(low, high);
  return tensor;
}

Values values_of(const Tensor& tensor) {
  const auto data = tensor.data<float>();
  return {data.begin(), data.end()};
}

// A graph with one input "images" of a shape, whose operators a test adds.
struct Subject {
  explicit Subject(const Shape& shape, uint64_t seed = 1) : image(random_tensor(shape, seed)) {
    x = graph.add_value("images");
    graph.values[x].shape = shape;
    graph.inputs = {x};
  }

  void parameter(const std::string& name, const Tensor& value) { graph.parameters[name] = value; }

  std::vector<Tensor> run(const std::vector<ValueId>& outputs, bool dynamic = false,
                          int opset = 13) {
    graph.outputs = outputs;
    const std::string bytes = onnx::serialize(graph, {.opset = opset, .dynamic = dynamic});
    const runtime::SessionOptions options{.provider = runtime::Provider::kCpu, .threads = 1};
    return runtime::Session::from_bytes(bytes, options).run({image});
  }
  Tensor run(ValueId output, bool dynamic = false, int opset = 13) {
    return run(std::vector<ValueId>{output}, dynamic, opset).at(0);
  }

  Graph graph;
  ValueId x;
  Tensor image;
};

void expect_near(const Tensor& actual, const Shape& shape, const Values& expected,
                 float tolerance = 1e-5F) {
  ASSERT_EQ(actual.shape(), shape);
  const auto values = actual.data<float>();
  for (size_t i = 0; i < expected.size(); ++i) {
    ASSERT_NEAR(values[i], expected[i], tolerance * std::max(1.0F, std::abs(expected[i]))) << i;
  }
}

// Direct convolution. Output extents follow from the operator.
Values convolve(const Tensor& image, const Tensor& weight, const Values& bias,
                const graph::Conv& op, const Shape& out) {
  const Shape& in = image.shape();
  const Shape& k = weight.shape();
  const auto x = image.data<float>();
  const auto w = weight.data<float>();
  Values result;
  for (int64_t n = 0; n < out[0]; ++n) {
    for (int64_t o = 0; o < out[1]; ++o) {
      const int64_t first = o / (k[0] / op.groups) * k[1];
      for (int64_t y = 0; y < out[2]; ++y) {
        for (int64_t z = 0; z < out[3]; ++z) {
          double sum = bias[static_cast<size_t>(o)];
          for (int64_t c = 0; c < k[1]; ++c) {
            for (int64_t i = 0; i < k[2]; ++i) {
              for (int64_t j = 0; j < k[3]; ++j) {
                const int64_t row = y * op.stride[0] - op.padding[0] + i * op.dilation[0];
                const int64_t column = z * op.stride[1] - op.padding[1] + j * op.dilation[1];
                if (row < 0 || row >= in[2] || column < 0 || column >= in[3]) continue;
                sum += static_cast<double>(
                           x[((n * in[1] + first + c) * in[2] + row) * in[3] + column]) *
                       w[((o * k[1] + c) * k[2] + i) * k[3] + j];
              }
            }
          }
          result.push_back(static_cast<float>(sum));
        }
      }
    }
  }
  return result;
}

TEST(Operators, Conv) {
  Subject subject({2, 4, 9, 7});
  const graph::Conv op{.stride = {2, 1},
                       .padding = {2, 0, 1, 3},  // top, left, bottom, right
                       .dilation = {1, 2},
                       .groups = 2,
                       .has_bias = true};
  const Tensor weight = random_tensor({6, 2, 3, 2}, 2);
  const Tensor bias = random_tensor({6}, 3);
  subject.parameter("conv.weight", weight);
  subject.parameter("conv.bias", bias);
  const Shape out{2, 6, 5, 8};
  expect_near(subject.run(subject.graph.add_node("conv", op, {subject.x})), out,
              convolve(subject.image, weight, values_of(bias), op, out));
}

TEST(Operators, QuantizedConv) {
  Subject subject({1, 2, 4, 4});
  const graph::Conv op;
  const Tensor weight = random_tensor({3, 2, 1, 1}, 2);
  subject.parameter("conv.weight", weight);
  const graph::Quantizer weights{.bits = 4,
                                 .qmin = -8,
                                 .qmax = 7,
                                 .axis = 0,
                                 .scale = {0.3F, 0.2F, 0.25F},
                                 .zero_point = {0, 0, 0}};
  for (const bool is_signed : {false, true}) {
    const graph::Quantizer inputs{.bits = 8,
                                  .qmin = is_signed ? -128 : 0,
                                  .qmax = is_signed ? 127 : 255,
                                  .axis = -1,
                                  .scale = {0.01F},
                                  .zero_point = {is_signed ? 3 : 120}};
    subject.graph.nodes.clear();
    subject.graph.quantization["conv"] = {.weight = weights, .input = inputs};
    subject.graph.values.resize(1);
    const ValueId y = subject.graph.add_node("conv", op, {subject.x});
    const Tensor image = dequantize(quantize(subject.image, inputs), inputs);
    const Tensor rounded = dequantize(quantize(weight, weights), weights);
    expect_near(subject.run(y), {1, 3, 4, 4},
                convolve(image, rounded, {0, 0, 0}, op, {1, 3, 4, 4}));
  }
}

TEST(Operators, BatchNorm) {
  Subject subject({2, 3, 2, 2});
  const Tensor gamma = random_tensor({3}, 2);
  const Tensor beta = random_tensor({3}, 3);
  const Tensor mean = random_tensor({3}, 4);
  const Tensor variance = random_tensor({3}, 5, 0.5F, 2);
  subject.parameter("bn.weight", gamma);
  subject.parameter("bn.bias", beta);
  subject.parameter("bn.running_mean", mean);
  subject.parameter("bn.running_var", variance);
  const graph::BatchNorm op{.eps = 0.1F};
  Values expected = values_of(subject.image);
  for (size_t i = 0; i < expected.size(); ++i) {
    const size_t c = i / 4 % 3;
    expected[i] = (expected[i] - mean.data<float>()[c]) /
                      std::sqrt(variance.data<float>()[c] + op.eps) * gamma.data<float>()[c] +
                  beta.data<float>()[c];
  }
  expect_near(subject.run(subject.graph.add_node("bn", op, {subject.x})), {2, 3, 2, 2}, expected);
}

TEST(Operators, Activations) {
  using Kind = graph::ActivationKind;
  const auto sigmoid = [](float x) { return 1 / (1 + std::exp(-x)); };
  const std::vector<std::pair<graph::Activation, std::function<float(float)>>> cases = {
      {{Kind::kSilu}, [&](float x) { return x * sigmoid(x); }},
      {{Kind::kSigmoid}, sigmoid},
      {{Kind::kRelu}, [](float x) { return std::max(x, 0.0F); }},
      {{Kind::kLeakyRelu, 0.1F}, [](float x) { return x < 0 ? 0.1F * x : x; }},
      {{Kind::kHardSwish}, [](float x) { return x * std::clamp(x / 6 + 0.5F, 0.0F, 1.0F); }},
  };
  for (const auto& [op, function] : cases) {
    Subject subject({1, 2, 3, 4});
    Values expected = values_of(subject.image);
    std::ranges::transform(expected, expected.begin(), function);
    expect_near(subject.run(subject.graph.add_node("act", op, {subject.x})), {1, 2, 3, 4},
                expected);
  }
}

TEST(Operators, ElementwiseBroadcastsConstants) {
  using Kind = graph::ElementwiseKind;
  for (const Kind kind : {Kind::kAdd, Kind::kSub, Kind::kMul, Kind::kDiv}) {
    Subject subject({1, 2, 1, 3});
    const Tensor factor = random_tensor({2, 1, 1}, 9, 1, 2);
    subject.parameter("constant.value", factor);
    const ValueId constant = subject.graph.add_node("constant", graph::Constant{}, {});
    Values expected = values_of(subject.image);
    for (size_t i = 0; i < expected.size(); ++i) {
      const float b = factor.data<float>()[i / 3];
      float& a = expected[i];
      a = kind == Kind::kAdd   ? a + b
          : kind == Kind::kSub ? a - b
          : kind == Kind::kMul ? a * b
                               : a / b;
    }
    const ValueId y = subject.graph.add_node("y", graph::Elementwise{kind}, {subject.x, constant});
    expect_near(subject.run(y), {1, 2, 1, 3}, expected);
  }
}

TEST(Operators, ConstantsMayBeOutputs) {
  Subject subject({1, 1, 1, 1});
  subject.parameter("c.value", Tensor::from<float>({2}, Values{3, 4}));
  const ValueId c = subject.graph.add_node("c", graph::Constant{}, {});
  expect_near(subject.run(c), {2}, {3, 4});
}

TEST(Operators, MaxPoolPadsWithNothing) {
  Subject subject({1, 1, 3, 3});
  subject.image = Tensor::from<float>({1, 1, 3, 3}, Values{-1, -2, -3, -4, -5, -6, -7, -8, -9});
  const graph::MaxPool op{.kernel = {2, 3}, .stride = {1, 2}, .padding = {1, 1, 0, 1}};
  // Rows -1..0, 0..1, 1..2; columns -1..1 and 1..3.
  expect_near(subject.run(subject.graph.add_node("pool", op, {subject.x})), {1, 1, 3, 2},
              {-1, -2, -1, -2, -4, -5});
}

TEST(Operators, Upsample) {
  Subject subject({1, 1, 1, 2});
  subject.image = Tensor::from<float>({1, 1, 1, 2}, Values{5, 7});
  expect_near(subject.run(subject.graph.add_node("up", graph::Upsample{3}, {subject.x})),
              {1, 1, 3, 6}, {5, 5, 5, 7, 7, 7, 5, 5, 5, 7, 7, 7, 5, 5, 5, 7, 7, 7});
}

TEST(Operators, SplitAndConcat) {
  Subject subject({1, 3, 1, 2});
  subject.image = Tensor::from<float>({1, 3, 1, 2}, Values{1, 2, 3, 4, 5, 6});
  const auto parts = subject.graph.add_node("split", graph::Split{1, {1, 2}}, {subject.x}, 2);
  const ValueId joined = subject.graph.add_node("concat", graph::Concat{1}, {parts[1], parts[0]});
  const auto outputs = subject.run({parts[0], joined});
  expect_near(outputs.at(0), {1, 1, 1, 2}, {1, 2});
  expect_near(outputs.at(1), {1, 3, 1, 2}, {3, 4, 5, 6, 1, 2});
}

TEST(Operators, ReshapeWithEveryKindOfExtent) {
  for (const bool dynamic : {false, true}) {
    Subject subject({2, 4, 6, 3});
    const ValueId flat = subject.graph.add_node("flat", graph::Reshape{{0, 4, -1}}, {subject.x});
    const graph::Reshape back{
        {graph::Reshape::kSameAsReference, 2, 2, graph::Reshape::kSameAsReference, -1}};
    const ValueId rows = subject.graph.add_node("five", graph::Reshape{{0, 4, 2, 3, 3}}, {flat});
    const ValueId y = subject.graph.add_node("back", back, {flat, rows});
    if (dynamic) {
      EXPECT_THROW(subject.run(y, true), Error);  // "five" fixes sizes
    } else {
      expect_near(subject.run(y), {2, 2, 2, 3, 6}, values_of(subject.image));
    }
  }
  Subject subject({2, 4, 6, 3});
  const ValueId flat = subject.graph.add_node("flat", graph::Reshape{{0, 4, -1}}, {subject.x});
  constexpr int64_t kRef = graph::Reshape::kSameAsReference;
  const ValueId y =
      subject.graph.add_node("back", graph::Reshape{{kRef, 4, kRef, kRef}}, {flat, subject.x});
  expect_near(subject.run(y, true), {2, 4, 6, 3}, values_of(subject.image));
}

TEST(Operators, TransposeAndMatMul) {
  Subject subject({1, 2, 2, 3});
  const ValueId turned =
      subject.graph.add_node("turned", graph::Transpose{{0, 1, 3, 2}}, {subject.x});
  const ValueId y = subject.graph.add_node("product", graph::MatMul{}, {subject.x, turned});
  const auto x = subject.image.data<float>();
  Values expected;
  for (size_t c = 0; c < 2; ++c) {
    for (size_t i = 0; i < 2; ++i) {
      for (size_t j = 0; j < 2; ++j) {
        float sum = 0;
        for (size_t k = 0; k < 3; ++k) sum += x[(c * 2 + i) * 3 + k] * x[(c * 2 + j) * 3 + k];
        expected.push_back(sum);
      }
    }
  }
  expect_near(subject.run(y), {1, 2, 2, 2}, expected);
}

TEST(Operators, SoftmaxAlongAnInnerAxis) {
  Subject subject({1, 3, 1, 2});
  Values expected = values_of(subject.image);
  for (size_t column = 0; column < 2; ++column) {
    float sum = 0;
    for (size_t c = 0; c < 3; ++c) sum += std::exp(expected[c * 2 + column]);
    for (size_t c = 0; c < 3; ++c) {
      expected[c * 2 + column] = std::exp(expected[c * 2 + column]) / sum;
    }
  }
  expect_near(subject.run(subject.graph.add_node("soft", graph::Softmax{1}, {subject.x})),
              {1, 3, 1, 2}, expected);
}

TEST(Operators, AnchorGrid) {
  for (const bool dynamic : {false, true}) {
    Subject subject({1, 1, 4, 2});
    const ValueId half = subject.graph.add_node(
        "half", graph::MaxPool{.kernel = {2, 2}, .stride = {2, 2}}, {subject.x});
    const auto grid =
        subject.graph.add_node("grid", graph::AnchorGrid{{8, 16}}, {subject.x, half}, 2);
    const auto outputs = subject.run({grid[0], grid[1]}, dynamic);
    expect_near(outputs.at(0), {1, 2, 10},
                {0.5F, 1.5F, 0.5F, 1.5F, 0.5F, 1.5F, 0.5F, 1.5F, 0.5F, 0.5F,
                 0.5F, 0.5F, 1.5F, 1.5F, 2.5F, 2.5F, 3.5F, 3.5F, 0.5F, 1.5F});
    expect_near(outputs.at(1), {1, 1, 10}, {8, 8, 8, 8, 8, 8, 8, 8, 16, 16});
  }
}

// v10postprocess on one image: rows of (x1, y1, x2, y2, score, class).
Values select(std::span<const float> raw, size_t classes, size_t points, size_t k) {
  const auto score = [&](size_t c, size_t a) { return raw[(4 + c) * points + a]; };
  const auto best = [&](size_t a) {
    float result = score(0, a);
    for (size_t c = 1; c < classes; ++c) result = std::max(result, score(c, a));
    return result;
  };
  std::vector<size_t> order(points);
  std::iota(order.begin(), order.end(), 0);
  std::ranges::stable_sort(order, std::greater<>(), best);
  order.resize(k);
  std::vector<size_t> pairs(k * classes);
  std::iota(pairs.begin(), pairs.end(), 0);
  std::ranges::stable_sort(pairs, std::greater<>(), [&](size_t pair) {
    return score(pair % classes, order[pair / classes]);
  });
  Values result;
  for (size_t i = 0; i < k; ++i) {
    const size_t a = order[pairs[i] / classes];
    const size_t c = pairs[i] % classes;
    const auto box = [&](size_t part) { return raw[part * points + a]; };
    for (const float sign : {-0.5F, 0.5F}) {
      result.push_back(box(0) + sign * box(2));
      result.push_back(box(1) + sign * box(3));
    }
    result.push_back(score(c, a));
    result.push_back(static_cast<float>(c));
  }
  return result;
}

TEST(Operators, SelectDetections) {
  constexpr size_t kClasses = 3;
  constexpr size_t kPoints = 35;
  for (const int64_t k : {10, 35, 300}) {
    for (const bool dynamic : {false, true}) {
      Subject subject({2, 4 + kClasses, 5, 7}, 4);
      auto values = subject.image.mutable_data<float>();
      // Ties within and between anchor points: the lower index comes first.
      for (float& value : values) value = std::round(value * 4) / 4;
      const ValueId flat = subject.graph.add_node(
          "flat", graph::Reshape{{0, 4 + static_cast<int64_t>(kClasses), -1}}, {subject.x});
      const ValueId y = subject.graph.add_node("select", graph::SelectDetections{k}, {flat});
      const size_t rows = std::min<size_t>(static_cast<size_t>(k), kPoints);
      Values expected;
      for (size_t image = 0; image < 2; ++image) {
        const Values one = select(subject.image.data<float>().subspan(
                                      image * (4 + kClasses) * kPoints, (4 + kClasses) * kPoints),
                                  kClasses, kPoints, rows);
        expected.insert(expected.end(), one.begin(), one.end());
      }
      expect_near(subject.run(y, dynamic, dynamic ? 18 : 13), {2, static_cast<int64_t>(rows), 6},
                  expected);
    }
  }
}

}  // namespace
}  // namespace yoloquant

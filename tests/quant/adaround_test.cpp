#include "quant/adaround.h"

#include <gtest/gtest.h>

#include <set>

#include "base/error.h"
#include "exec/executor.h"
#include "grid.h"
#include "model/model.h"
#include "quant/nearest.h"
#include "small_graph.h"
#include "support/temporary_folder.h"
#include "tiny_detector.h"

namespace yoloquant::quant {
namespace {

const char* const kTiny = R"(
nc: 3
scales: {n: [0.33, 0.25, 128]}
backbone:
  - [-1, 1, Conv, [64, 3, 2]]
  - [-1, 3, C2f, [64, true]]
  - [-1, 1, SCDown, [128, 3, 2]]
  - [-1, 1, PSA, [128]]
head:
  - [[1, 3], 1, v10Detect, [nc]]
)";

// conv3x3 -> SiLU -> depthwise 3x3 -> SiLU -> conv of two groups, without module paths.
graph::Graph grouped_graph() {
  graph::Graph graph;
  const graph::ValueId image = graph.add_value("images");
  graph.values[image].shape = {1, 3, 32, 32};
  graph.inputs = {image};
  const auto grouped = [&](const std::string& name, graph::ValueId input, int64_t groups,
                           int64_t kernel) {
    const graph::ValueId value = add_conv(graph, name, input, 16 / groups, 16, kernel);
    std::get<graph::Conv>(graph.nodes.back().op).groups = groups;
    return graph.add_node(name + ".act", graph::Activation{}, {value});
  };
  const auto stem =
      graph.add_node("stem.act", graph::Activation{}, {add_conv(graph, "stem", image, 3, 16, 3)});
  graph.outputs = {grouped("pairs", grouped("depthwise", stem, 16, 3), 2, 1)};
  graph::infer_shapes(graph);
  graph::check(graph);
  return graph;
}

struct Outcome {
  graph::Graph start;
  graph::Graph graph;
  std::vector<BlockResult> blocks;
};

struct Setting {
  std::string scheme = "w3a16";
  int64_t iterations = 60;
  double seconds = std::numeric_limits<double>::infinity();
  MethodState* state = nullptr;
  Progress* progress = &Progress::none();
};

graph::Graph nearest(const graph::Graph& reference, const QuantizationConfig& config,
                     CalibrationData& images) {
  graph::Graph graph = reference;
  annotate_weights(graph, config, 1);
  calibrate_activations(graph, config, images, {.device = "cpu"});
  return graph;
}

Outcome learn(const graph::Graph& reference, CalibrationData& images, const Setting& setting = {}) {
  QuantizationConfig config;
  config.scheme = parse_scheme(setting.scheme);
  Outcome outcome;
  outcome.start = nearest(reference, config, images);
  outcome.graph = outcome.start;
  Budget budget(Effort::kFast, setting.seconds, 5);
  const CalibrationOptions calibration{.device = "cpu"};
  const MethodContext context{.reference = reference,
                              .config = config,
                              .images = images,
                              .calibration = calibration,
                              .budget = budget,
                              .progress = *setting.progress,
                              .state = setting.state};
  if (setting.state != nullptr) setting.state->resume(outcome.graph);
  AdaRoundOptions options;
  options.block.iterations = setting.iterations;
  options.block.crop = 12;
  outcome.blocks = run_adaround(outcome.graph, context, options);
  return outcome;
}

TEST(AdaRound, BlocksComeCloserToTheFloatModelThanNearest) {
  MadeImages images(8, 32);
  for (const graph::Graph& reference : {small_graph(), grouped_graph()}) {
    for (const char* scheme : {"w3a16", "w3a8"}) {
      const Outcome outcome = learn(reference, images, {.scheme = scheme});
      EXPECT_EQ(outcome.blocks.size(), graph::conv_names(reference).size());
      double ratio = 0;
      for (const BlockResult& block : outcome.blocks) {
        EXPECT_LE(block.after, block.before) << block.name;
        ratio += block.after / block.before / static_cast<double>(outcome.blocks.size());
      }
      EXPECT_LT(ratio, 0.9) << scheme;
      expect_on_grid(outcome.graph, 0);
    }
  }
}

TEST(AdaRound, BlocksAreNeverWorseOnHeldOutImages) {
  MadeImages images(6, 64);
  const graph::Graph reference = tiny_detector(kTiny);
  const Outcome outcome = learn(reference, images, {.iterations = 20});
  int improved = 0;
  for (const BlockResult& block : outcome.blocks) {
    EXPECT_LE(block.after, block.before) << block.name;
    improved += block.after < 0.9 * block.before ? 1 : 0;
  }
  EXPECT_GE(improved, 3);
  EXPECT_TRUE(equal(outcome.graph.parameter("model.4.dfl.conv.weight"),
                    reference.parameter("model.4.dfl.conv.weight")));
  EXPECT_EQ(outcome.graph.quantization.at("model.0.conv").weight->scale,
            outcome.start.quantization.at("model.0.conv").weight->scale);
}

TEST(AdaRound, ChangesNothingWithoutTime) {
  MadeImages images(4, 32);
  const Outcome outcome = learn(small_graph(), images, {.seconds = 0});
  for (const auto& [name, value] : outcome.start.parameters) {
    EXPECT_TRUE(equal(value, outcome.graph.parameter(name))) << name;
  }
}

class Interruption : public Progress {
 public:
  explicit Interruption(int updates) : left_(updates) {}
  void start(std::string_view, int64_t) override {}
  void update(int64_t, std::string_view) override {
    if (--left_ == 0) fail("interrupted");
  }
  void finish() override {}

 private:
  int left_;
};

TEST(AdaRound, GoesOnBehindTheLastBlock) {
  MadeImages images(4, 32);
  const graph::Graph reference = small_graph();
  const test::TemporaryFolder folder;
  const Outcome whole = learn(reference, images);
  Interruption interruption(150);  // in the third of four blocks
  MethodState first(folder / "state.safetensors", "run");
  EXPECT_THROW(learn(reference, images, {.state = &first, .progress = &interruption}), Error);
  MethodState second(folder / "state.safetensors", "run");
  const Outcome resumed = learn(reference, images, {.state = &second});
  EXPECT_EQ(resumed.blocks.size(), 2U);
  for (const auto& [name, value] : whole.graph.parameters) {
    EXPECT_TRUE(equal(value, resumed.graph.parameter(name))) << name;
  }
  MethodState other(folder / "state.safetensors", "another run");
  EXPECT_THROW(learn(reference, images, {.state = &other}), Error);
}

TEST(Blocks, FollowModulesAndBranches) {
  const graph::Graph graph = tiny_detector(kTiny);
  const std::vector<Block> blocks = find_blocks(graph);
  size_t next = 0;
  std::set<std::string> names;
  for (const Block& block : blocks) {
    EXPECT_EQ(block.first, next);
    next = block.last;
    names.insert(block.name);
  }
  EXPECT_EQ(next, graph.nodes.size());
  for (const char* name : {"model.0", "model.1", "model.3", "model.4.cv2.0", "model.4.cv3.1"}) {
    EXPECT_TRUE(names.contains(name)) << name;
  }
}

TEST(Blocks, CropsGiveWhatTheWholeGives) {
  const graph::Graph graph = tiny_detector(kTiny);
  graph::Graph rounded = graph;
  annotate_weights(rounded, {}, 1);
  int windows = 0;
  for (const Block& block : find_blocks(graph)) {
    if (!has_fitted_convs(rounded, graph, block)) continue;
    const std::optional<BlockWindow> window = find_window(graph, block);
    // Not attention, and not the head's branches, which end in a reshape.
    EXPECT_EQ(window.has_value(), block.name < "model.3") << block.name;
    if (!window) continue;
    ++windows;
    const Shape in = graph.values[block.inputs[0]].shape;
    const Shape out = graph.values[block.outputs[0]].shape;
    graph::Graph cut = graph;
    cut.nodes.assign(graph.nodes.begin() + static_cast<std::ptrdiff_t>(block.first),
                     graph.nodes.begin() + static_cast<std::ptrdiff_t>(block.last));
    cut.inputs = block.inputs;
    cut.outputs = block.outputs;
    std::erase_if(cut.parameters, [&](const auto& parameter) {
      return cut.find_node(parameter.first.substr(0, parameter.first.rfind('.'))) == nullptr;
    });
    exec::Executor executor(cut, {.device = "cpu"});
    const Tensor whole_in = random_tensor({1, in[1], 2 * in[2], 2 * in[3]}, 3, -1, 1);
    const Tensor whole_out = executor.run({whole_in}).at(0);
    for (const int64_t first : {int64_t{0}, out[2] / 2, 2 * out[2] - 3}) {
      const CropSpan span = crop_span(*window, first, 3, 2 * out[2]);
      Tensor crop(DType::kFloat32, {1, in[1], span.input_count, span.input_count});
      size_t k = 0;
      const auto at = [&](const Tensor& t, int64_t c, int64_t y, int64_t x) {
        return t.data<float>()[static_cast<size_t>((c * t.dim(2) + y) * t.dim(3) + x)];
      };
      for (int64_t c = 0; c < in[1]; ++c) {
        for (int64_t y = 0; y < span.input_count; ++y) {
          for (int64_t x = 0; x < span.input_count; ++x) {
            crop.mutable_data<float>()[k++] =
                at(whole_in, c, span.input_first + y, span.input_first + x);
          }
        }
      }
      const Tensor part = executor.run({crop}).at(0);
      for (int64_t c = 0; c < out[1]; ++c) {
        for (int64_t y = 0; y < 3; ++y) {
          for (int64_t x = 0; x < 3; ++x) {
            ASSERT_NEAR(at(part, c, span.skip + y, span.skip + x),
                        at(whole_out, c, first + y, first + x), 1e-3)
                << block.name << " " << first;
          }
        }
      }
    }
  }
  EXPECT_EQ(windows, 3);
}

}  // namespace
}  // namespace yoloquant::quant

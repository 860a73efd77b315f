#include "quant/blocks.h"

#include <algorithm>
#include <map>
#include <set>
#include <string_view>

#include "base/text.h"

namespace yoloquant::quant {

namespace {

using graph::ValueId;

// "model.4.m.0.cv1.conv" -> 4; -1 for names that are no module paths.
int64_t module_number(const std::vector<std::string>& parts) {
  if (parts.size() < 2 || parts[0] != "model" || parts[1].empty() || parts[1].size() > 6) return -1;
  const bool digits = std::ranges::all_of(parts[1], [](char c) { return c >= '0' && c <= '9'; });
  return digits ? std::stoll(parts[1]) : -1;
}

std::string join_first(const std::vector<std::string>& parts, size_t count) {
  std::string name = parts[0];
  for (size_t i = 1; i < std::min(count, parts.size()); ++i) name += "." + parts[i];
  return name;
}

// Names the block of each node in turn.
class BlockNames {
 public:
  explicit BlockNames(const graph::Graph& graph) : producers_(graph.producers()) {
    for (const graph::Node& node : graph.nodes) {
      head_ = std::max(head_, module_number(split(node.name, '.')));
    }
  }

  std::string next(const graph::Node& node, size_t index) {
    const std::vector<std::string> parts = split(node.name, '.');
    const int64_t module = module_number(parts);
    const bool follows = conv_ && std::holds_alternative<graph::Activation>(node.op) &&
                         producers_[node.inputs.at(0)] == static_cast<int>(index) - 1;
    conv_ = false;
    if (module >= 0) return join_first(parts, module == head_ ? 4 : 2);
    if (follows) {
      conv_ = true;
      return last_;
    }
    conv_ = std::holds_alternative<graph::Conv>(node.op);
    last_ = conv_ ? node.name : "";
    return last_;
  }

 private:
  std::vector<int> producers_;
  int64_t head_ = -1;
  bool conv_ = false;  // the block before is a single conv's
  std::string last_;
};

void connect(const graph::Graph& graph, const std::vector<int>& producers,
             const std::vector<std::vector<int>>& consumers, Block& block) {
  const auto first = static_cast<int>(block.first);
  const auto last = static_cast<int>(block.last);
  std::set<ValueId> seen;
  for (size_t i = block.first; i < block.last; ++i) {
    for (const ValueId value : graph.nodes[i].inputs) {
      if (producers[value] < first && seen.insert(value).second) block.inputs.push_back(value);
    }
    for (const ValueId value : graph.nodes[i].outputs) {
      const bool read = !consumers[value].empty() && consumers[value].back() >= last;
      const bool output = std::ranges::find(graph.outputs, value) != graph.outputs.end();
      if (read || output) block.outputs.push_back(value);
    }
  }
}

// Where a value lies on the grid of the block's inputs.
struct Reach {
  int64_t stride = 1;
  int64_t radius = 0;  // input pixels
};

template <typename Kernel>
std::optional<Reach> through_kernel(const Reach& in, const Kernel& op, int64_t height,
                                    int64_t width, const std::array<int64_t, 2>& dilation) {
  if (op.stride[0] != op.stride[1]) return std::nullopt;
  const auto radius = [](int64_t kernel, int64_t step, int64_t before) {
    return std::max(before, step * (kernel - 1) - before);
  };
  const int64_t most = std::max(radius(height, dilation[0], op.padding[0]),
                                radius(width, dilation[1], op.padding[1]));
  return Reach{in.stride * op.stride[0], in.radius + most * in.stride};
}

std::optional<Reach> reach_of(const graph::Graph& graph, const graph::Node& node,
                              const std::vector<Reach>& inputs) {
  if (inputs.empty()) return std::nullopt;
  Reach common = inputs[0];
  for (const Reach& other : inputs) {
    if (other.stride != common.stride) return std::nullopt;
    common.radius = std::max(common.radius, other.radius);
  }
  if (const auto* conv = std::get_if<graph::Conv>(&node.op)) {
    const Tensor& weight = graph.parameter(node.name + ".weight");
    return through_kernel(common, *conv, weight.dim(2), weight.dim(3), conv->dilation);
  }
  if (const auto* pool = std::get_if<graph::MaxPool>(&node.op)) {
    return through_kernel(common, *pool, pool->kernel[0], pool->kernel[1], {1, 1});
  }
  const auto* concat = std::get_if<graph::Concat>(&node.op);
  const auto* parts = std::get_if<graph::Split>(&node.op);
  const bool pointwise = std::holds_alternative<graph::Activation>(node.op) ||
                         std::holds_alternative<graph::Elementwise>(node.op) ||
                         std::holds_alternative<graph::BatchNorm>(node.op) ||
                         (concat != nullptr && concat->axis == 1) ||
                         (parts != nullptr && parts->axis == 1);
  if (!pointwise) return std::nullopt;
  return common;
}

}  // namespace

std::vector<Block> find_blocks(const graph::Graph& graph) {
  std::vector<Block> blocks;
  BlockNames names(graph);
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    std::string name = names.next(graph.nodes[i], i);
    if (blocks.empty() || blocks.back().name != name) {
      blocks.push_back(
          {.name = std::move(name), .first = i, .last = i, .inputs = {}, .outputs = {}});
    }
    blocks.back().last = i + 1;
  }
  const std::vector<int> producers = graph.producers();
  const std::vector<std::vector<int>> consumers = graph.consumers();
  for (Block& block : blocks) connect(graph, producers, consumers, block);
  return blocks;
}

std::optional<BlockWindow> find_window(const graph::Graph& graph, const Block& block) {
  if (block.inputs.empty() || block.outputs.empty()) return std::nullopt;
  const auto shape = [&](ValueId value) -> const Shape& { return graph.values[value].shape; };
  const auto same_size = [&](const std::vector<ValueId>& values) {
    return std::ranges::all_of(values, [&](ValueId value) {
      const Shape& a = shape(value);
      const Shape& b = shape(values[0]);
      return a.size() == 4 && b.size() == 4 && a[2] == b[2] && a[3] == b[3];
    });
  };
  if (!same_size(block.inputs) || !same_size(block.outputs)) return std::nullopt;
  const Shape& whole = shape(block.inputs[0]);
  std::map<ValueId, Reach> reach;
  for (const ValueId value : block.inputs) reach[value] = {};
  for (size_t i = block.first; i < block.last; ++i) {
    const graph::Node& node = graph.nodes[i];
    std::vector<Reach> inputs;
    for (const ValueId value : node.inputs) inputs.push_back(reach.at(value));
    const std::optional<Reach> out = reach_of(graph, node, inputs);
    if (!out) return std::nullopt;
    for (const ValueId value : node.outputs) {
      const Shape& s = shape(value);
      // Only then do crops keep the alignment of the whole.
      if (s.size() != 4 || s[2] * out->stride != whole[2] || s[3] * out->stride != whole[3]) {
        return std::nullopt;
      }
      reach[value] = *out;
    }
  }
  BlockWindow window{.stride = reach.at(block.outputs[0]).stride, .margin = 0};
  for (const ValueId value : block.outputs) {
    const int64_t radius = reach.at(value).radius;
    window.margin = std::max(window.margin, (radius + window.stride - 1) / window.stride);
  }
  return window;
}

CropSpan crop_span(const BlockWindow& window, int64_t first, int64_t count, int64_t extent) {
  const int64_t begin = std::max<int64_t>(first - window.margin, 0);
  const int64_t end = std::min(first + count + window.margin, extent);
  return {.first = first,
          .count = count,
          .input_first = begin * window.stride,
          .input_count = (end - begin) * window.stride,
          .skip = first - begin};
}

}  // namespace yoloquant::quant

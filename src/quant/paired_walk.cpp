#include "quant/paired_walk.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/from_blob.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <ranges>

#include "base/error.h"
#include "base/memory.h"
#include "exec/convert.h"
#include "exec/operators.h"

namespace yoloquant::quant {

namespace {

using Batches = std::vector<at::Tensor>;

at::Tensor tensor_of(const Tensor& value) {
  at::Tensor tensor = exec::view_of(value).clone();
  return tensor.dim() == 4 ? tensor.contiguous(at::MemoryFormat::ChannelsLast) : tensor;
}

}  // namespace

exec::NodeParameters quantized_parameters(const graph::Graph& graph, const graph::Node& node) {
  const auto find = [&](const char* part) {
    const auto found = graph.parameters.find(node.name + part);
    return found == graph.parameters.end() ? at::Tensor() : tensor_of(found->second);
  };
  exec::NodeParameters parameters{find(".weight"), find(".bias"), find(".running_mean"),
                                  find(".running_var"), find(".value")};
  const auto annotation = graph.quantization.find(node.name);
  if (annotation != graph.quantization.end() && annotation->second.weight) {
    const graph::Quantizer& q = *annotation->second.weight;
    parameters.weight =
        tensor_of(dequantize(quantize(graph.parameter(node.name + ".weight"), q), q));
  }
  return parameters;
}

namespace {

at::Tensor quantized_input(const at::Tensor& x, const graph::Quantizer& q) {
  return exec::fake_quantize(x, q.scale[0], q.zero_point[0], q.qmin, q.qmax);
}

// A float16 copy outside of the allocator's heap, where what is kept would lie among what is not.
at::Tensor kept(const at::Tensor& x) {
  const size_t bytes = std::max<size_t>(x.numel(), 1) * sizeof(c10::Half);
  const at::Tensor form = x.is_non_overlapping_and_dense() ? x : x.contiguous();
  at::Tensor copy = at::from_blob(
      allocate_pages(bytes), form.sizes(), form.strides(),
      [bytes](void* pages) { free_pages(pages, bytes); }, at::TensorOptions(c10::ScalarType::Half));
  copy.copy_(x);
  return copy;
}

// Values of one of the two graphs, by value and batch. Float16 holds them in half the memory; its
// rounding is far below that of the codes.
class Side {
 public:
  Side(const graph::Graph& graph, const Batches& images)
      : graph_(&graph), values_(graph.values.size()) {
    for (const at::Tensor& image : images) {
      keep(graph.inputs.at(0), image);
    }
  }

  // The node's i-th input for one batch; a conv's activations are rounded where annotated.
  at::Tensor input(const graph::Node& node, size_t i, size_t batch) const {
    at::Tensor x = values_[node.inputs[i]][batch].to(c10::ScalarType::Float);
    if (i > 0) return x;
    const auto annotation = graph_->quantization.find(node.name);
    const bool rounded = annotation != graph_->quantization.end() && annotation->second.input;
    return rounded ? quantized_input(x, *annotation->second.input) : x;
  }

  // Batch by batch frees the values `last_used`, so that inputs and outputs are never both there
  // for all images.
  void run(const graph::Node& node, size_t batches, const std::vector<graph::ValueId>& last_used) {
    const exec::NodeParameters parameters = quantized_parameters(*graph_, node);
    for (const graph::ValueId output : node.outputs) values_[output] = {};
    for (size_t b = 0; b < batches; ++b) {
      std::vector<at::Tensor> inputs;
      for (size_t i = 0; i < node.inputs.size(); ++i) inputs.push_back(input(node, i, b));
      for (const graph::ValueId value : last_used) values_[value][b] = at::Tensor();
      const std::vector<at::Tensor> outputs = exec::apply(node, parameters, inputs);
      for (size_t k = 0; k < outputs.size(); ++k) {
        keep(node.outputs[k], outputs[k]);
      }
    }
    for (const graph::ValueId value : last_used) free(value);
  }

  void free(graph::ValueId value) { values_[value] = {}; }

  // The values of more images, at the same node.
  void append(const Side& other) {
    for (size_t v = 0; v < values_.size(); ++v) {
      values_[v].insert(values_[v].end(), other.values_[v].begin(), other.values_[v].end());
    }
  }

  const graph::Graph& graph() const { return *graph_; }

  std::vector<Batches> get(const std::vector<graph::ValueId>& ids) const {
    std::vector<Batches> batches;
    for (const graph::ValueId value : ids) batches.push_back(values_[value]);
    return batches;
  }

 private:
  // The next batch of a value. What was needed on the way to it does not find its place in the heap
  // again by itself: glibc before 2.39 puts no aligned block where one of the same size was.
  void keep(graph::ValueId value, const at::Tensor& batch) {
    constexpr size_t kReleaseAfter = size_t{64} << 20;
    values_[value].push_back(kept(batch));
    unreleased_ += values_[value].back().nbytes();
    if (unreleased_ < kReleaseAfter) return;
    release_free_memory();
    unreleased_ = 0;
  }

  const graph::Graph* graph_;
  std::vector<Batches> values_;
  size_t unreleased_ = 0;
};

Batches load(CalibrationData& images, int64_t first, int64_t last, int batch) {
  Batches batches;
  images.for_each_batch(first, last, batch,
                        [&](const Tensor& loaded) { batches.push_back(tensor_of(loaded)); });
  return batches;
}

// Inputs of node `i` that no later node reads.
std::vector<graph::ValueId> last_used_by(const graph::Graph& graph,
                                         const std::vector<std::vector<int>>& consumers, size_t i) {
  std::vector<graph::ValueId> inputs = graph.nodes[i].inputs;
  std::ranges::sort(inputs);
  inputs.erase(std::ranges::unique(inputs).begin(), inputs.end());
  std::erase_if(
      inputs, [&](graph::ValueId value) { return consumers[value].back() != static_cast<int>(i); });
  return inputs;
}

// Bytes that both sides hold per image while each node runs: what was there before it, or what is
// there after it.
std::vector<int64_t> live_bytes(const graph::Graph& graph) {
  const std::vector<std::vector<int>> consumers = graph.consumers();
  const auto bytes = [&](graph::ValueId value) {
    constexpr int64_t kSidesTimesHalf = 2 * 2;
    int64_t count = kSidesTimesHalf;
    for (const int64_t extent : graph.values[value].shape) count *= extent;
    return count;
  };
  int64_t live = 0;
  for (const graph::ValueId value : graph.inputs) live += bytes(value);
  std::vector<int64_t> result;
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    const int64_t before = live;
    for (const graph::ValueId value : graph.nodes[i].outputs) live += bytes(value);
    for (const graph::ValueId value : last_used_by(graph, consumers, i)) live -= bytes(value);
    result.push_back(std::max(before, live));
  }
  return result;
}

// The float and the quantized graph at one node, for the images loaded so far.
class Pair {
 public:
  Pair(const graph::Graph& reference, const graph::Graph& annotated)
      : annotated_(annotated),
        consumers_(annotated.consumers()),
        fp_(reference, {}),
        q_(annotated, {}) {}

  // Adds images that have gone through all nodes before `node`.
  void add(Batches images, size_t node) {
    Pair other(fp_.graph(), annotated_);
    other.fp_ = Side(fp_.graph(), images);
    other.q_ = Side(annotated_, images);
    other.batches_ = images.size();
    images.clear();
    for (size_t i = 0; i < node; ++i) other.run(i);
    fp_.append(other.fp_);
    q_.append(other.q_);
    batches_ += other.batches_;
  }

  void run(size_t node) {
    const std::vector<graph::ValueId> done = last_used_by(annotated_, consumers_, node);
    fp_.run(annotated_.nodes[node], batches_, done);
    q_.run(annotated_.nodes[node], batches_, done);
  }

  PairedInput input(const graph::Node& node, int64_t images) const {
    return {node, images, batches_, [this, &node](size_t b) { return fp_.input(node, 0, b); },
            [this, &node](size_t b) { return q_.input(node, 0, b); }};
  }

 private:
  const graph::Graph& annotated_;
  std::vector<std::vector<int>> consumers_;
  Side fp_;
  Side q_;
  size_t batches_ = 0;
};

}  // namespace

void walk_pairs(const graph::Graph& reference, const graph::Graph& annotated,
                CalibrationData& images, const PairedWalkOptions& options,
                const std::function<void(const PairedInput&)>& visit) {
  if (reference.nodes.size() != annotated.nodes.size()) fail("the two graphs have different nodes");
  const c10::InferenceMode guard;
  const int64_t wanted =
      options.images > 0 ? std::min(options.images, images.size()) : images.size();
  // How many images fit from each node on: early values are large.
  std::vector<int64_t> fitting = live_bytes(annotated);
  int64_t most = 1;
  for (int64_t& bytes : fitting | std::views::reverse) {
    most = std::max(most, bytes);
    bytes = std::clamp<int64_t>(options.memory / most / options.batch, 1, wanted) * options.batch;
  }
  Pair pair(reference, annotated);
  int64_t loaded = 0;
  for (size_t i = 0; i < annotated.nodes.size(); ++i) {
    while (loaded < std::min(fitting[i], wanted)) {
      const int64_t next = std::min(loaded + options.batch, wanted);
      pair.add(load(images, loaded, next, options.batch), i);
      loaded = next;
      release_free_memory();
    }
    const graph::Node& node = annotated.nodes[i];
    const auto annotation = annotated.quantization.find(node.name);
    if (annotation != annotated.quantization.end() && annotation->second.weight) {
      visit(pair.input(node, loaded));
    }
    pair.run(i);
    release_free_memory();
  }
}

void walk_blocks(const graph::Graph& reference, const graph::Graph& annotated,
                 const std::vector<Block>& blocks, CalibrationData& images, int64_t count,
                 const std::function<bool(const PairedBlock&)>& visit) {
  if (reference.nodes.size() != annotated.nodes.size()) fail("the two graphs have different nodes");
  const at::NoGradGuard guard;  // not InferenceMode: visitors differentiate
  Batches batches = load(images, 0, std::min(count, images.size()), 1);
  const size_t loaded = batches.size();
  Side fp(reference, batches);
  Side q(annotated, batches);
  batches.clear();
  const std::vector<std::vector<int>> consumers = annotated.consumers();
  // Values made before `first` are kept, and the graph's outputs.
  const std::vector<int> producers = annotated.producers();
  const auto run = [&](Side& side, size_t i, size_t first) {
    std::vector<graph::ValueId> done = last_used_by(annotated, consumers, i);
    std::erase_if(done, [&](graph::ValueId value) {
      return producers[value] < static_cast<int>(first) ||
             std::ranges::find(annotated.outputs, value) != annotated.outputs.end();
    });
    side.run(annotated.nodes[i], loaded, done);
  };
  for (const Block& block : blocks) {
    for (size_t i = block.first; i < block.last; ++i) run(fp, i, block.first);
    const bool go_on =
        visit({block, fp.get(block.inputs), q.get(block.inputs), fp.get(block.outputs)});
    if (!go_on) return;
    for (size_t i = block.first; i < block.last; ++i) run(q, i, block.first);
    for (const graph::ValueId value : block.inputs) {
      if (consumers[value].back() < static_cast<int>(block.last)) {
        fp.free(value);
        q.free(value);
      }
    }
  }
}

int64_t walk_bytes_per_image(const graph::Graph& graph) {
  return std::ranges::max(live_bytes(graph));
}

}  // namespace yoloquant::quant

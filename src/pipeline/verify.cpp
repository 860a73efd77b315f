#include "pipeline/verify.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "base/error.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/random.h"
#include "exec/executor.h"
#include "graph/passes.h"
#include "onnx/edit.h"
#include "runtime/session.h"

namespace yoloquant::pipeline {
namespace {

// A quantized conv by itself: the same codes times the same codes, summed in another order.
constexpr double kConvBound = 1e-4;

// Whole model, relative L2 of boxes and of scores.
//
// Float activations: the same float32 expression in another order of summation.
constexpr double kFloatBound = 1e-3;
// The same in float16, whose rounding alone is 2^-11 an operation.
constexpr double kHalfBound = 2e-2;
// Quantized activations: where a value lies within float rounding of the middle between two codes,
// one side takes the next code. A layer turns a perturbation of d steps into flips of one step at a
// fraction d of its values, so the root mean square goes from d to sqrt(d): tiny differences grow
// layer by layer until they are of the order of a step, which is what quantization itself does to
// the values. In the limit two correct implementations make independent errors and are sqrt(2)
// times as far from each other as either is from the float model. A few confident boxes dominate
// the norm, so single images scatter around that: up to 2.1 measured on YOLOv10n with W8A8. The
// bound leaves room for it; what it cannot see, kConvBound does.
constexpr double kFlipFraction = 3;

// ONNX Runtime approximates the sigmoid to about 1e-8, which is much for scores that are all tiny.
constexpr double kInvisibleScore = 1e-6;

bool quantizes_activations(const graph::Graph& graph) {
  return !graph.value_quantization.empty() ||
         std::ranges::any_of(graph.quantization,
                             [](const auto& entry) { return entry.second.input.has_value(); });
}

bool selects(const graph::Node& node) {
  return std::holds_alternative<graph::TopK>(node.op) ||
         std::holds_alternative<graph::SelectDetections>(node.op);
}

// A file in ONNX Runtime, with other outputs than its own where the graph was cut.
class File {
 public:
  File(const std::string& model, bool is_cut, const graph::Graph& graph,
       const runtime::SessionOptions& options)
      : session_(runtime::Session::from_bytes(
            is_cut ? onnx::with_outputs(model, output_names(graph)) : model, options)) {}

  std::vector<Tensor> run(const Tensor& image) { return session_.run({image}); }
  const std::string& provider() const { return session_.provider(); }

 private:
  static std::vector<std::string> output_names(const graph::Graph& graph) {
    std::vector<std::string> names;
    for (const graph::ValueId id : graph.outputs) {
      names.push_back(graph.values.at(static_cast<size_t>(id)).name);
    }
    return names;
  }

  runtime::Session session_;
};

bool is_close(const OutputDifference& difference, const Verification& verification) {
  return difference.relative_box <= verification.bound_box &&
         (difference.relative_score <= verification.bound_score ||
          difference.max_score <= kInvisibleScore);
}

void require_close(const OutputDifference& difference, const Verification& verification,
                   const char* what) {
  if (is_close(difference, verification)) return;
  fail(
      "ONNX Runtime ({}) does not compute what was quantized: relative difference of boxes {:.2g} "
      "(allowed {:.2g}), of scores {:.2g} (allowed {:.2g}), largest {:.3g} pixels and {:.3g}; the "
      "file was not kept",
      what, difference.relative_box, verification.bound_box, difference.relative_score,
      verification.bound_score, difference.max_box_pixels, difference.max_score);
}

// How far the simulator's outputs move when the image moves by about float rounding: no two
// implementations can be asked to agree better.
OutputDifference own_scatter(exec::Executor& simulator, const std::vector<Tensor>& images,
                             const OutputForm& form) {
  constexpr int kTries = 8;
  constexpr float kNudge = 1e-6F;
  OutputDifference largest;
  for (int i = 0; i < kTries; ++i) {
    DifferenceSum moved;
    Random random(static_cast<uint64_t>(i));
    for (const Tensor& image : images) {
      Tensor nudged = image;
      for (float& x : nudged.mutable_data<float>()) x += random.uniform(-kNudge, kNudge);
      const std::vector<Tensor> before = simulator.run(std::vector<Tensor>{image});
      const std::vector<Tensor> after = simulator.run(std::vector<Tensor>{nudged});
      for (size_t k = 0; k < before.size(); ++k) moved.add(after[k], before[k], before[k], form);
    }
    const OutputDifference result = moved.result();
    largest.relative_box = std::max(largest.relative_box, result.relative_box);
    largest.relative_score = std::max(largest.relative_score, result.relative_score);
  }
  return largest;
}

}  // namespace

void DifferenceSum::Part::add(std::span<const float> a, std::span<const float> b,
                              std::span<const float> scale) {
  for (size_t i = 0; i < a.size(); ++i) {
    const double difference = static_cast<double>(a[i]) - b[i];
    // Not std::max, which would pass over NaN.
    if (!(std::abs(difference) <= max)) max = std::abs(difference);
    sum += std::abs(difference);
    squares += difference * difference;
    scale_squares += static_cast<double>(scale[i]) * scale[i];
  }
  count += static_cast<int64_t>(a.size());
}

double DifferenceSum::Part::relative() const {
  if (squares == 0) return 0;
  return std::sqrt(squares / std::max(scale_squares, 1e-30));
}

void DifferenceSum::add(const Tensor& a, const Tensor& b, const Tensor& scale, OutputForm form) {
  const bool is_detector =
      form == OutputForm::kOther || (a.rank() == 3 && (a.dim(1) >= 5 || a.dim(2) >= 5));
  if (a.shape() != b.shape() || a.shape() != scale.shape() || !is_detector) {
    fail("outputs {} and {} cannot be compared", shape_string(a.shape()), shape_string(b.shape()));
  }
  const std::array<std::span<const float>, 3> all{a.data<float>(), b.data<float>(),
                                                  scale.data<float>()};
  if (form == OutputForm::kOther) {
    Part& part = a.rank() > 0 && a.shape().back() == 4 ? boxes_ : scores_;
    return part.add(all[0], all[1], all[2]);
  }
  // A portion is an image of 4 rows of boxes and others, or a row that begins with its box.
  const bool rows = form != OutputForm::kRaw;
  const auto portion = static_cast<size_t>(rows ? a.dim(2) : a.dim(1) * a.dim(2));
  const auto boxes = static_cast<size_t>(rows ? 4 : 4 * a.dim(2));
  for (size_t start = 0; start < all[0].size(); start += portion) {
    const auto box = [&](size_t i) { return all[i].subspan(start, boxes); };
    const auto score = [&](size_t i) { return all[i].subspan(start + boxes, portion - boxes); };
    boxes_.add(box(0), box(1), box(2));
    scores_.add(score(0), score(1), score(2));
  }
}

OutputDifference DifferenceSum::result() const {
  return {.max_box_pixels = boxes_.max,
          .mean_box_pixels = boxes_.sum / static_cast<double>(std::max<int64_t>(boxes_.count, 1)),
          .max_score = scores_.max,
          .mean_score = scores_.sum / static_cast<double>(std::max<int64_t>(scores_.count, 1)),
          .relative_box = boxes_.relative(),
          .relative_score = scores_.relative()};
}

graph::Graph before_selection(const graph::Graph& graph) {
  const auto producers = graph.producers();
  std::vector<bool> selected(graph.nodes.size(), false);
  std::vector<graph::ValueId> starts;
  const auto is_selected = [&](graph::ValueId id) {
    return producers[static_cast<size_t>(id)] >= 0 &&
           selected[static_cast<size_t>(producers[static_cast<size_t>(id)])];
  };
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    const graph::Node& node = graph.nodes[i];
    selected[i] = selects(node) || std::ranges::any_of(node.inputs, is_selected);
    if (!selected[i]) continue;
    for (const graph::ValueId id : node.inputs) {
      const int producer = producers[static_cast<size_t>(id)];
      const bool is_made =
          producer >= 0 && !is_selected(id) &&
          !std::holds_alternative<graph::Constant>(graph.nodes[static_cast<size_t>(producer)].op) &&
          is_floating_point(graph.values[static_cast<size_t>(id)].dtype);
      if (is_made && std::ranges::find(starts, id) == starts.end()) starts.push_back(id);
    }
  }
  if (starts.empty()) return graph;
  graph::Graph cut = graph;
  cut.outputs = starts;
  return graph::remove_dead_code(cut);
}

Verification verify_quantized(const graph::Graph& annotated, const graph::Graph& reference,
                              const std::filesystem::path& file, const std::vector<Tensor>& images,
                              const VerifyOptions& options) {
  release_free_memory();  // sessions come with memory of their own
  Verification result;
  if (!options.float16 && !images.empty()) {
    const ConvDifference convs = compare_convs(annotated, file, images[0], options);
    result.convs = convs.convs;
    result.worst_conv = convs.worst;
    result.worst_conv_name = convs.name;
    result.bound_conv = kConvBound;
    if (!(convs.worst <= kConvBound)) {
      fail(
          "ONNX Runtime does not compute conv {} as quantized: relative difference {:.2g} (allowed "
          "{:.2g}); the file was not kept",
          convs.name, convs.worst, kConvBound);
    }
    release_free_memory();
  }
  const graph::Graph compared = before_selection(annotated);
  const bool is_cut =
      compared.outputs.size() != 1 || compared.nodes.size() != annotated.nodes.size();
  exec::Executor simulator(compared, {.device = options.device});
  exec::Executor original(before_selection(reference),
                          {.device = options.device, .fake_quantize = false});
  // On the CPU: other providers may take TF32 or other shortcuts that are theirs, not the file's.
  runtime::SessionOptions session{.provider = runtime::Provider::kCpu, .threads = options.threads};
  const std::string model = read_file(file);
  File optimized(model, is_cut, compared, session);
  session.graph_optimization = false;
  File unoptimized(model, is_cut, compared, session);
  const auto shape_of = [&](graph::ValueId id) {
    return compared.values.at(static_cast<size_t>(id)).shape;
  };
  const OutputForm form =
      is_cut ? OutputForm::kOther
             : output_form(shape_of(compared.outputs.at(0)), shape_of(compared.inputs.at(0)));

  DifferenceSum with_optimizations;
  DifferenceSum without_optimizations;
  DifferenceSum quantization;
  for (const Tensor& image : images) {
    const std::vector<Tensor> simulated = simulator.run(std::vector<Tensor>{image});
    const std::vector<Tensor> wanted = original.run(std::vector<Tensor>{image});
    const std::vector<Tensor> left = optimized.run(image);
    const std::vector<Tensor> right = unoptimized.run(image);
    for (size_t i = 0; i < simulated.size(); ++i) {
      with_optimizations.add(left.at(i).to_float32(), simulated[i], wanted.at(i), form);
      without_optimizations.add(right.at(i).to_float32(), simulated[i], wanted[i], form);
      quantization.add(simulated[i], wanted[i], wanted[i], form);
    }
    result.images += image.dim(0);
  }
  result.provider = optimized.provider();
  result.optimized = with_optimizations.result();
  result.unoptimized = without_optimizations.result();
  result.quantization = quantization.result();
  const double floor = options.float16 ? kHalfBound : kFloatBound;
  result.bound_box = floor;
  result.bound_score = floor;
  if (quantizes_activations(annotated)) {
    result.bound_box = std::max(floor, kFlipFraction * result.quantization.relative_box);
    result.bound_score = std::max(floor, kFlipFraction * result.quantization.relative_score);
  }
  if (quantizes_activations(annotated) &&
      !(is_close(result.optimized, result) && is_close(result.unoptimized, result))) {
    // One unstable box can be all there is to see in an image.
    const OutputDifference scatter = own_scatter(simulator, images, form);
    result.bound_box = std::max(result.bound_box, kFlipFraction * scatter.relative_box);
    result.bound_score = std::max(result.bound_score, kFlipFraction * scatter.relative_score);
  }
  require_close(result.optimized, result, "graph optimizations on");
  require_close(result.unoptimized, result, "graph optimizations off");
  return result;
}

}  // namespace yoloquant::pipeline

#include "pipeline/verify.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "exec/executor.h"
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

bool quantizes_activations(const graph::Graph& graph) {
  return !graph.value_quantization.empty() ||
         std::ranges::any_of(graph.quantization,
                             [](const auto& entry) { return entry.second.input.has_value(); });
}

// One image batch through an executor.
Tensor run_one(exec::Executor& executor, const Tensor& image) {
  return std::move(executor.run(std::vector<Tensor>{image}).at(0)).to_float32();
}

void require_close(const OutputDifference& difference, const Verification& verification,
                   const char* what) {
  const bool boxes = difference.relative_box <= verification.bound_box;
  const bool scores = difference.relative_score <= verification.bound_score;
  if (boxes && scores) return;
  fail(
      "ONNX Runtime ({}) does not compute what was quantized: relative difference of boxes {:.2g} "
      "(allowed {:.2g}), of scores {:.2g} (allowed {:.2g}), largest {:.3g} pixels and {:.3g}; the "
      "file was not kept",
      what, difference.relative_box, verification.bound_box, difference.relative_score,
      verification.bound_score, difference.max_box_pixels, difference.max_score);
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

void DifferenceSum::add(const Tensor& a, const Tensor& b, const Tensor& scale) {
  if (a.shape() != b.shape() || a.shape() != scale.shape() || a.rank() != 3 || a.dim(1) < 5) {
    fail("outputs {} and {} cannot be compared", shape_string(a.shape()), shape_string(b.shape()));
  }
  const auto image = static_cast<size_t>(a.dim(1) * a.dim(2));
  const auto boxes = static_cast<size_t>(4 * a.dim(2));
  for (size_t start = 0; start < a.data<float>().size(); start += image) {
    const auto part = [&](const Tensor& tensor) {
      return tensor.data<float>().subspan(start, image);
    };
    boxes_.add(part(a).first(boxes), part(b).first(boxes), part(scale).first(boxes));
    scores_.add(part(a).subspan(boxes), part(b).subspan(boxes), part(scale).subspan(boxes));
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

Verification verify_quantized(const graph::Graph& annotated, const graph::Graph& reference,
                              const std::filesystem::path& file, const std::vector<Tensor>& images,
                              const VerifyOptions& options) {
  exec::Executor simulator(annotated, {.device = options.device});
  exec::Executor original(reference, {.device = options.device, .fake_quantize = false});
  // On the CPU: other providers may take TF32 or other shortcuts that are theirs, not the file's.
  runtime::SessionOptions session{.provider = runtime::Provider::kCpu, .threads = options.threads};
  runtime::Session optimized(file, session);
  session.graph_optimization = false;
  runtime::Session unoptimized(file, session);

  DifferenceSum with_optimizations;
  DifferenceSum without_optimizations;
  DifferenceSum quantization;
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
  }
  for (const Tensor& image : images) {
    const Tensor simulated = run_one(simulator, image);
    const Tensor wanted = run_one(original, image);
    with_optimizations.add(optimized.run({image}).at(0).to_float32(), simulated, wanted);
    without_optimizations.add(unoptimized.run({image}).at(0).to_float32(), simulated, wanted);
    quantization.add(simulated, wanted, wanted);
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
  require_close(result.optimized, result, "graph optimizations on");
  require_close(result.unoptimized, result, "graph optimizations off");
  return result;
}

}  // namespace yoloquant::pipeline

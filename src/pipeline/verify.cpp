#include "pipeline/verify.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "exec/executor.h"
#include "runtime/session.h"

namespace yoloquant::pipeline {
namespace {

// What the file may differ from the simulator by, relative L2 of boxes and of scores.
//
// Float activations: both compute the same float32 expression in another order of summation.
constexpr double kFloatBound = 1e-3;
// The same in float16, whose rounding alone is 2^-11 an operation.
constexpr double kHalfBound = 2e-2;
// Quantized activations: where a value lies within float rounding of the middle between two codes,
// one side may take the next code. Such flips are rare, but each is an error of one step, and they
// spread through the layers below. They are harmless as long as they are small against the error
// that quantization itself makes, so that is what the bound is relative to.
constexpr double kFlipFraction = 0.5;

bool quantizes_inputs(const graph::Graph& graph) {
  return std::ranges::any_of(graph.quantization,
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

void DifferenceSum::Part::add(std::span<const float> a, std::span<const float> b) {
  for (size_t i = 0; i < a.size(); ++i) {
    const double difference = static_cast<double>(a[i]) - b[i];
    // Not std::max, which would pass over NaN.
    if (!(std::abs(difference) <= max)) max = std::abs(difference);
    sum += std::abs(difference);
    squares += difference * difference;
    reference_squares += static_cast<double>(b[i]) * b[i];
  }
  count += static_cast<int64_t>(a.size());
}

double DifferenceSum::Part::relative() const {
  if (squares == 0) return 0;
  return std::sqrt(squares / std::max(reference_squares, 1e-30));
}

void DifferenceSum::add(const Tensor& a, const Tensor& b) {
  if (a.shape() != b.shape() || a.rank() != 3 || a.dim(1) < 5) {
    fail("outputs {} and {} cannot be compared", shape_string(a.shape()), shape_string(b.shape()));
  }
  const auto image = static_cast<size_t>(a.dim(1) * a.dim(2));
  const auto boxes = static_cast<size_t>(4 * a.dim(2));
  for (size_t start = 0; start < a.data<float>().size(); start += image) {
    const auto left = a.data<float>().subspan(start, image);
    const auto right = b.data<float>().subspan(start, image);
    boxes_.add(left.first(boxes), right.first(boxes));
    scores_.add(left.subspan(boxes), right.subspan(boxes));
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
  for (const Tensor& image : images) {
    const Tensor simulated = run_one(simulator, image);
    with_optimizations.add(optimized.run({image}).at(0).to_float32(), simulated);
    without_optimizations.add(unoptimized.run({image}).at(0).to_float32(), simulated);
    quantization.add(simulated, run_one(original, image));
    result.images += image.dim(0);
  }
  result.provider = optimized.provider();
  result.optimized = with_optimizations.result();
  result.unoptimized = without_optimizations.result();
  result.quantization = quantization.result();
  const double floor = options.float16 ? kHalfBound : kFloatBound;
  result.bound_box = floor;
  result.bound_score = floor;
  if (quantizes_inputs(annotated)) {
    result.bound_box = std::max(floor, kFlipFraction * result.quantization.relative_box);
    result.bound_score = std::max(floor, kFlipFraction * result.quantization.relative_score);
  }
  require_close(result.optimized, result, "graph optimizations on");
  require_close(result.unoptimized, result, "graph optimizations off");
  return result;
}

}  // namespace yoloquant::pipeline

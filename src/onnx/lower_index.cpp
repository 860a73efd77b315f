#include "onnx/lowering.h"

namespace yoloquant::onnx {

void lower_slice(const LoweringContext& at, const graph::Slice& slice) {
  std::vector<int64_t> starts;
  std::vector<int64_t> ends;
  std::vector<int64_t> axes;
  std::vector<int64_t> steps;
  for (const graph::Slice::Range& range : slice.ranges) {
    starts.push_back(range.start);
    ends.push_back(range.end);
    axes.push_back(range.axis);
    steps.push_back(range.step);
  }
  at.emit("Slice", {at.inputs[0], at.builder.ints("starts", starts), at.builder.ints("ends", ends),
                    at.builder.ints("axes", axes), at.builder.ints("steps", steps)});
}

// ReduceSum takes its axes as an input from opset 13 on, the others from opset 18 on.
void lower_reduce(const LoweringContext& at, const graph::Reduce& reduce) {
  if (reduce.axes.empty()) return at.emit("Identity", {at.inputs[0]});  // ONNX: all axes
  static constexpr const char* kOps[] = {"ReduceMax", "ReduceMin", "ReduceMean", "ReduceSum"};
  const std::string op = kOps[static_cast<size_t>(reduce.kind)];
  const int64_t keep = reduce.keep_axes ? 1 : 0;
  if (at.builder.opset() >= 18 || reduce.kind == graph::ReduceKind::kSum) {
    return at.emit(op, {at.inputs[0], at.builder.ints("axes", reduce.axes)}, {{"keepdims", keep}});
  }
  at.emit(op, {at.inputs[0]}, {{"axes", reduce.axes}, {"keepdims", keep}});
}

}  // namespace yoloquant::onnx

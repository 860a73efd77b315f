#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "tensor/tensor.h"

// The operators of the graph: plain structs in one variant. Shape rules, the executor and the ONNX
// writer each visit it without a default branch, so that a new operator does not compile until
// every layer has dealt with it. Data is laid out [N, C, H, W].
namespace yoloquant::graph {

// 2-D convolution. Parameters: NAME.weight [O, I/groups, KH, KW] and, if has_bias, NAME.bias [O].
struct Conv {
  std::array<int64_t, 2> stride{1, 1};
  std::array<int64_t, 4> padding{0, 0, 0, 0};  // top, left, bottom, right
  std::array<int64_t, 2> dilation{1, 1};
  int64_t groups = 1;
  bool has_bias = false;
};

// Parameters: NAME.weight, NAME.bias, NAME.running_mean, NAME.running_var, all [C].
struct BatchNorm {
  float eps = 1e-3F;
  float momentum = 0.03F;  // of the running statistics, PyTorch's convention
};

// kHardSigmoid is PyTorch's: clamp(x / 6 + 0.5, 0, 1).
enum class ActivationKind : uint8_t {
  kSilu,
  kSigmoid,
  kRelu,
  kLeakyRelu,
  kHardSwish,
  kHardSigmoid
};
struct Activation {
  ActivationKind kind = ActivationKind::kSilu;
  float alpha = 0;  // slope of LeakyRelu
};

enum class ElementwiseKind : uint8_t { kAdd, kSub, kMul, kDiv, kPow, kMin, kMax, kMod };
// Two inputs of one type, NumPy broadcasting. Integers divide towards zero; kMod has the divisor's
// sign.
struct Elementwise {
  ElementwiseKind kind = ElementwiseKind::kAdd;
};

struct MaxPool {
  std::array<int64_t, 2> kernel{1, 1};
  std::array<int64_t, 2> stride{1, 1};
  std::array<int64_t, 4> padding{0, 0, 0, 0};  // top, left, bottom, right; padded with -infinity
};

// Nearest-neighbour upsampling of H and W by a whole factor.
struct Upsample {
  int64_t factor = 2;
};

struct Concat {
  int64_t axis = 1;
};

// One output per entry of `sizes`, which add up to the input's extent along `axis`.
struct Split {
  int64_t axis = 1;
  std::vector<int64_t> sizes;
};

// Entries of `shape`: a size, or one of these. kSameAsReference copies the extent at the same index
// from the second input (which is only looked at for its shape).
struct Reshape {
  static constexpr int64_t kSameAsInput = 0;
  static constexpr int64_t kInferred = -1;
  static constexpr int64_t kSameAsReference = -2;
  std::vector<int64_t> shape;
};

struct Transpose {
  std::vector<int64_t> permutation;
};

// Matrix product over the last two axes; those before broadcast.
struct MatMul {};

struct Softmax {
  int64_t axis = -1;
};

// A value that does not depend on the inputs: parameter NAME.value, of any type.
struct Constant {};

// Every step-th element of [start, end) along each range's axis. REQUIRES: 0 <= start <= end, start
// <= extent, step >= 1, each axis once. An end beyond the extent is the extent.
struct Slice {
  static constexpr int64_t kToEnd = std::numeric_limits<int64_t>::max();
  struct Range {
    int64_t axis = 0;
    int64_t start = 0;
    int64_t end = kToEnd;
    int64_t step = 1;
  };
  std::vector<Range> ranges;
};

// Elements of the first input at the integer indices of the second; negative ones count from the
// end. Whole slices along `axis` (ONNX Gather), or one element an index (GatherElements).
struct Gather {
  int64_t axis = 0;
  bool elements = false;
};

enum class ReduceKind : uint8_t { kMax, kMin, kMean, kSum };
// Over `axes`, all different; these are kept with extent 1 or dropped.
struct Reduce {
  ReduceKind kind = ReduceKind::kMax;
  std::vector<int64_t> axes;
  bool keep_axes = true;
};

// The `count` largest values along `axis` by falling value, and their indices (int64).
struct TopK {
  int64_t count = 1;
  int64_t axis = -1;
};

// Broadcasting with `shape` as NumPy does.
struct Expand {
  Shape shape;
};

// The input repeats[i] times along axis i.
struct Tile {
  std::vector<int64_t> repeats;
};

// To another element type. From float to an integer: towards zero.
struct Cast {
  DType dtype = DType::kFloat32;
};

// Inputs: one feature map [N, C, H, W] per entry of `strides` (only their shapes count). Outputs:
// anchor points [1, 2, A] (x row, then y row, in cells, at cell centres) and strides [1, 1, A] in
// pixels; A is the sum of H*W. Source: Ultralytics make_anchors.
struct AnchorGrid {
  std::vector<int64_t> strides;
};

// Input [N, 4 + classes, A] (cxcywh in pixels, class scores); output [N, K, 6] with rows
// (x1, y1, x2, y2, score, class) by falling score, K = min(max_detections, A). Source: THU-MIG
// v10postprocess: the K anchor points of highest class score, then the K highest (point, class)
// pairs among them.
struct SelectDetections {
  int64_t max_detections = 300;
};

// An operator that is kept as the file has it: the graph knows what comes out, not what it does.
struct Opaque {
  // Computes outputs from inputs in host memory. Thread-safe; null when nothing can run it.
  using Function = std::function<std::vector<Tensor>(const std::vector<Tensor>& inputs)>;

  std::string type;            // "Einsum", "com.microsoft::Gelu"
  std::string form;            // in the words of the format it came from: a serialized ONNX node
  int64_t version = 0;         // of the operator set that `type` is from: an ONNX opset
  int64_t domain_version = 0;  // the same for a domain of its own; 0: none
  // What it was made for: other inputs may give other outputs.
  std::vector<Shape> input_shapes;
  std::vector<std::pair<DType, Shape>> outputs;
  Function function;
};

using Operator =
    std::variant<Conv, BatchNorm, Activation, Elementwise, MaxPool, Upsample, Concat, Split,
                 Reshape, Transpose, MatMul, Softmax, Constant, Slice, Gather, Reduce, TopK, Expand,
                 Tile, Cast, Opaque, AnchorGrid, SelectDetections>;

// "conv", "batch_norm", "silu", "add", ...
std::string_view operator_name(const Operator& op);

template <typename... Functions>
struct Overloaded : Functions... {
  using Functions::operator()...;
};

}  // namespace yoloquant::graph

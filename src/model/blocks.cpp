#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "model/builder.h"

namespace yoloquant::model {

using graph::ActivationKind;
using graph::ElementwiseKind;
using graph::Reshape;

ValueId add_bottleneck(Builder& b, const std::string& name, ValueId x, int64_t out, bool shortcut) {
  // As C2f uses it: e = 1, two 3x3 convs.
  const ValueId y = b.conv_block(name + ".cv1", x, {.out = out, .kernel = 3});
  const ValueId z = b.conv_block(name + ".cv2", y, {.out = out, .kernel = 3});
  if (!shortcut || b.channels(x) != out) return z;
  return b.elementwise(name + ".add", ElementwiseKind::kAdd, x, z);
}

namespace {

// The frame that C2f and C2fCIB share: split, a chain of blocks, and all of it joined.
template <typename Block>
ValueId add_c2f_frame(Builder& b, const std::string& name, ValueId x, int64_t out, int64_t repeats,
                      Block block) {
  const int64_t hidden = out / 2;
  const ValueId y = b.conv_block(name + ".cv1", x, {.out = 2 * hidden});
  std::vector<ValueId> parts = b.split(name + ".split", y, {hidden, hidden});
  for (int64_t i = 0; i < repeats; ++i) {
    parts.push_back(block(fmt::format("{}.m.{}", name, i), parts.back(), hidden));
  }
  return b.conv_block(name + ".cv2", b.concat(name + ".concat", parts), {.out = out});
}

}  // namespace

ValueId add_c2f(Builder& b, const std::string& name, ValueId x, int64_t out, int64_t repeats,
                bool shortcut) {
  return add_c2f_frame(b, name, x, out, repeats,
                       [&](const std::string& block, ValueId input, int64_t hidden) {
                         return add_bottleneck(b, block, input, hidden, shortcut);
                       });
}

ValueId add_rep_vgg_dw(Builder& b, const std::string& name, ValueId x) {
  const int64_t c = b.channels(x);
  const ValueId large =
      b.conv_block(name + ".conv", x, {.out = c, .kernel = 7, .groups = c, .activation = false});
  const ValueId small =
      b.conv_block(name + ".conv1", x, {.out = c, .kernel = 3, .groups = c, .activation = false});
  const ValueId sum = b.elementwise(name + ".add", ElementwiseKind::kAdd, large, small);
  return b.activation(name + ".act", sum, ActivationKind::kSilu);
}

ValueId add_cib(Builder& b, const std::string& name, ValueId x, int64_t out, bool shortcut,
                bool large_kernel) {
  // As C2fCIB uses it: e = 1.
  const int64_t in = b.channels(x);
  const int64_t wide = 2 * out;
  ValueId y = b.conv_block(name + ".cv1.0", x, {.out = in, .kernel = 3, .groups = in});
  y = b.conv_block(name + ".cv1.1", y, {.out = wide});
  y = large_kernel ? add_rep_vgg_dw(b, name + ".cv1.2", y)
                   : b.conv_block(name + ".cv1.2", y, {.out = wide, .kernel = 3, .groups = wide});
  y = b.conv_block(name + ".cv1.3", y, {.out = out});
  y = b.conv_block(name + ".cv1.4", y, {.out = out, .kernel = 3, .groups = out});
  if (!shortcut || in != out) return y;
  return b.elementwise(name + ".add", ElementwiseKind::kAdd, x, y);
}

ValueId add_c2f_cib(Builder& b, const std::string& name, ValueId x, int64_t out, int64_t repeats,
                    bool shortcut, bool large_kernel) {
  return add_c2f_frame(b, name, x, out, repeats,
                       [&](const std::string& block, ValueId input, int64_t hidden) {
                         return add_cib(b, block, input, hidden, shortcut, large_kernel);
                       });
}

ValueId add_sc_down(Builder& b, const std::string& name, ValueId x, int64_t out, int64_t kernel,
                    int64_t stride) {
  const ValueId y = b.conv_block(name + ".cv1", x, {.out = out});
  return b.conv_block(
      name + ".cv2", y,
      {.out = out, .kernel = kernel, .stride = stride, .groups = out, .activation = false});
}

ValueId add_sppf(Builder& b, const std::string& name, ValueId x, int64_t out, int64_t kernel) {
  std::vector<ValueId> parts = {b.conv_block(name + ".cv1", x, {.out = b.channels(x) / 2})};
  for (int i = 0; i < 3; ++i) {
    parts.push_back(b.max_pool(fmt::format("{}.m.{}", name, i), parts.back(), kernel, 1));
  }
  return b.conv_block(name + ".cv2", b.concat(name + ".concat", parts), {.out = out});
}

namespace {

// Multi-head self-attention over all positions, with a depthwise positional encoding.
ValueId add_attention(Builder& b, const std::string& name, ValueId x) {
  const int64_t dim = b.channels(x);
  const int64_t heads = std::max<int64_t>(dim / 64, 1);
  const int64_t head_dim = dim / heads;
  const int64_t key_dim = head_dim / 2;  // attn_ratio .5
  if (head_dim * heads != dim || key_dim == 0) fail("{}: {} channels", name, dim);
  const ValueId qkv =
      b.conv_block(name + ".qkv", x, {.out = dim + 2 * key_dim * heads, .activation = false});
  const ValueId rows = b.reshape(name + ".heads", qkv,
                                 {Reshape::kSameAsInput, heads, 2 * key_dim + head_dim, -1}, heads);
  const std::vector<ValueId> parts =
      b.split(name + ".split", rows, {key_dim, key_dim, head_dim}, 2);
  const ValueId q = b.transpose(name + ".q", parts[0], {0, 1, 3, 2});
  const ValueId scale =
      b.constant(name + ".scale",
                 Tensor::scalar(static_cast<float>(1 / std::sqrt(static_cast<double>(key_dim)))));
  const ValueId logits = b.elementwise(name + ".scaled", ElementwiseKind::kMul,
                                       b.matmul(name + ".qk", q, parts[1]), scale);
  const ValueId weights =
      b.transpose(name + ".weights", b.softmax(name + ".softmax", logits, 3), {0, 1, 3, 2});
  const std::vector<int64_t> image = {Reshape::kSameAsReference, dim, Reshape::kSameAsReference,
                                      Reshape::kSameAsReference};
  const ValueId mixed =
      b.reshape(name + ".mixed", b.matmul(name + ".av", parts[2], weights), image, dim, x);
  const ValueId v = b.reshape(name + ".v", parts[2], image, dim, x);
  const ValueId position =
      b.conv_block(name + ".pe", v, {.out = dim, .kernel = 3, .groups = dim, .activation = false});
  const ValueId sum = b.elementwise(name + ".add", ElementwiseKind::kAdd, mixed, position);
  return b.conv_block(name + ".proj", sum, {.out = dim, .activation = false});
}

}  // namespace

ValueId add_psa(Builder& b, const std::string& name, ValueId x, int64_t out) {
  if (b.channels(x) != out) fail("{}: PSA keeps channels, {} to {}", name, b.channels(x), out);
  const int64_t hidden = out / 2;
  const ValueId y = b.conv_block(name + ".cv1", x, {.out = 2 * hidden});
  const std::vector<ValueId> parts = b.split(name + ".split", y, {hidden, hidden});
  ValueId z = b.elementwise(name + ".attn.residual", ElementwiseKind::kAdd, parts[1],
                            add_attention(b, name + ".attn", parts[1]));
  ValueId f = b.conv_block(name + ".ffn.0", z, {.out = 2 * hidden});
  f = b.conv_block(name + ".ffn.1", f, {.out = hidden, .activation = false});
  z = b.elementwise(name + ".ffn.residual", ElementwiseKind::kAdd, z, f);
  return b.conv_block(name + ".cv2", b.concat(name + ".concat", {parts[0], z}), {.out = out});
}

}  // namespace yoloquant::model

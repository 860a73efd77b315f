#include "train/norm_kernels.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>

#include <algorithm>
#include <functional>
#include <vector>

#include "exec/parallel.h"
#include "quant/simd.h"
#include "quant/simd_math.h"

namespace yoloquant::train {

namespace {

constexpr int64_t kBlock = 16384;    // values whose sums are kept in float32
constexpr int64_t kLineLength = 64;  // at least, where there are enough pixels

// A tensor as blocks of lines. A line is several pixels where they have few channels, so that loops
// over it fill vectors; what is given by channel is repeated as often.
class Lines {
 public:
  explicit Lines(const at::Tensor& x)
      : channels_(x.size(1)),
        pixels_(x.numel() / std::max<int64_t>(channels_, 1)),
        joined_(std::max<int64_t>(1, (kLineLength + channels_ - 1) / channels_)),
        in_block_(std::max<int64_t>(1, kBlock / (joined_ * channels_)) * joined_) {}

  int64_t channels() const { return channels_; }
  int64_t width() const { return joined_ * channels_; }
  int64_t blocks() const { return (pixels_ + in_block_ - 1) / in_block_; }
  int64_t first_of(int64_t block) const { return block * in_block_ * channels_; }  // value
  int64_t pixels_of(int64_t block) const {
    return std::min(in_block_, pixels_ - block * in_block_);
  }

  std::vector<float> repeated(const at::Tensor& by_channel) const {
    const at::Tensor dense = by_channel.contiguous();
    const auto* values = dense.const_data_ptr<float>();
    std::vector<float> line(static_cast<size_t>(width()));
    for (size_t i = 0; i < line.size(); ++i) line[i] = values[i % static_cast<size_t>(channels_)];
    return line;
  }

  // body(block, first value, lines, their length): once or twice a block, for the last pixels may
  // fill no line. Calls for a block run one after the other on a thread.
  using Body = std::function<void(int64_t, int64_t, int64_t, int64_t)>;
  void for_each(const Body& body) const {
    exec::parallel_for(blocks(), 2, [&](int64_t begin, int64_t end) {
      for (int64_t b = begin; b < end; ++b) {
        const int64_t lines = pixels_of(b) / joined_;
        const int64_t rest = pixels_of(b) % joined_;
        if (lines > 0) body(b, first_of(b), lines, width());
        if (rest > 0) body(b, first_of(b) + lines * width(), 1, rest * channels_);
      }
    });
  }

 private:
  int64_t channels_;
  int64_t pixels_;
  int64_t joined_;    // pixels of a line
  int64_t in_block_;  // pixels of a block, whole lines
};

struct RepeatedScales {
  std::vector<float> mean;
  std::vector<float> scale;
  std::vector<float> offset;

  RepeatedScales(const Lines& lines, const ChannelScales& scales)
      : mean(lines.repeated(scales.mean)),
        scale(lines.repeated(scales.scale)),
        offset(lines.repeated(scales.offset)) {}
};

// Two sums for each place of a line, for each block.
class BlockSums {
 public:
  explicit BlockSums(const Lines& lines)
      : lines_(lines), values_(static_cast<size_t>(2 * lines.blocks() * lines.width())) {}

  float* first(int64_t block) { return values_.data() + (2 * block * lines_.width()); }
  float* second(int64_t block) { return first(block) + lines_.width(); }

  // Of a block and a channel.
  double first(int64_t block, int64_t channel) { return folded(first(block), channel); }
  double second(int64_t block, int64_t channel) { return folded(second(block), channel); }

 private:
  double folded(const float* line, int64_t channel) const {
    double sum = 0;
    for (int64_t i = channel; i < lines_.width(); i += lines_.channels()) sum += line[i];
    return sum;
  }

  const Lines& lines_;
  std::vector<float> values_;
};

YOLOQUANT_SIMD void add_moments(const float* __restrict x, int64_t lines, int64_t width,
                                const float* __restrict shift, float* __restrict sum,
                                float* __restrict square) {
  for (int64_t l = 0; l < lines; ++l, x += width) {
    for (int64_t i = 0; i < width; ++i) {
      const float d = x[i] - shift[i];
      sum[i] += d;
      square[i] += d * d;
    }
  }
}

YOLOQUANT_SIMD void scale_lines(const float* __restrict x, float* __restrict out, int64_t lines,
                                int64_t width, const float* __restrict mean,
                                const float* __restrict scale, const float* __restrict offset) {
  for (int64_t l = 0; l < lines; ++l, x += width, out += width) {
    for (int64_t i = 0; i < width; ++i) out[i] = (x[i] - mean[i]) * scale[i] + offset[i];
  }
}

YOLOQUANT_SIMD void scale_lines_silu(const float* __restrict x, float* __restrict out,
                                     int64_t lines, int64_t width, const float* __restrict mean,
                                     const float* __restrict scale,
                                     const float* __restrict offset) {
  for (int64_t l = 0; l < lines; ++l, x += width, out += width) {
    for (int64_t i = 0; i < width; ++i) {
      const float z = (x[i] - mean[i]) * scale[i] + offset[i];
      out[i] = z * quant::fast_sigmoid(z);
    }
  }
}

YOLOQUANT_SIMD void add_products(const float* __restrict x, const float* __restrict z,
                                 int64_t lines, int64_t width, const float* __restrict mean,
                                 float* __restrict sum, float* __restrict product) {
  for (int64_t l = 0; l < lines; ++l, x += width, z += width) {
    for (int64_t i = 0; i < width; ++i) {
      sum[i] += z[i];
      product[i] += z[i] * (x[i] - mean[i]);
    }
  }
}

YOLOQUANT_SIMD void silu_gradient(const float* __restrict x, const float* __restrict gradient,
                                  float* __restrict out, int64_t lines, int64_t width,
                                  const float* __restrict mean, const float* __restrict scale,
                                  const float* __restrict offset) {
  for (int64_t l = 0; l < lines; ++l, x += width, gradient += width, out += width) {
    for (int64_t i = 0; i < width; ++i) {
      const float z = (x[i] - mean[i]) * scale[i] + offset[i];
      const float s = quant::fast_sigmoid(z);
      out[i] = gradient[i] * s * (1 + z * (1 - s));
    }
  }
}

YOLOQUANT_SIMD void center_lines(const float* __restrict x, float* __restrict z, int64_t lines,
                                 int64_t width, const float* __restrict scale,
                                 const float* __restrict a, const float* __restrict b,
                                 const float* __restrict mean) {
  for (int64_t l = 0; l < lines; ++l, x += width, z += width) {
    for (int64_t i = 0; i < width; ++i) {
      z[i] = scale[i] * z[i] - a[i] - b[i] * (x[i] - mean[i]);
    }
  }
}

at::Tensor by_channel(const Lines& lines, const at::Tensor& like) {
  return at::empty({lines.channels()}, like.options().memory_format(at::MemoryFormat::Contiguous));
}

}  // namespace

ChannelMoments channel_moments(const at::Tensor& x) {
  const Lines lines(x);
  const auto* in = x.const_data_ptr<float>();
  const int64_t channels = lines.channels();
  BlockSums sums(lines);
  // Each block subtracts its first pixel.
  std::vector<float> shifts(static_cast<size_t>(lines.blocks() * lines.width()));
  for (size_t i = 0; i < shifts.size(); ++i) {
    const auto place = static_cast<int64_t>(i);
    shifts[i] = in[lines.first_of(place / lines.width()) + place % lines.width() % channels];
  }
  lines.for_each([&](int64_t block, int64_t first, int64_t count, int64_t width) {
    add_moments(in + first, count, width, shifts.data() + (block * lines.width()),
                sums.first(block), sums.second(block));
  });
  ChannelMoments result{by_channel(lines, x), by_channel(lines, x)};
  auto* means = result.mean.mutable_data_ptr<float>();
  auto* variances = result.variance.mutable_data_ptr<float>();
  for (int64_t c = 0; c < channels; ++c) {
    double total = 0;
    double mean = 0;
    double squares = 0;  // of differences from the mean
    for (int64_t b = 0; b < lines.blocks(); ++b) {
      const auto n = static_cast<double>(lines.pixels_of(b));
      const double sum = sums.first(b, c);
      const double own = shifts[static_cast<size_t>((b * lines.width()) + c)] + (sum / n);
      const double away = own - mean;
      squares += sums.second(b, c) - (sum * sum / n) + (away * away * total * n / (total + n));
      total += n;
      mean += away * n / total;
    }
    means[c] = static_cast<float>(mean);
    variances[c] = static_cast<float>(std::max(squares, 0.0) / total);
  }
  return result;
}

at::Tensor scale_channels(const at::Tensor& x, const ChannelScales& scales,
                          NormActivation activation) {
  const Lines lines(x);
  const RepeatedScales line(lines, scales);
  at::Tensor result = at::empty_like(x);
  const auto* in = x.const_data_ptr<float>();
  auto* out = result.mutable_data_ptr<float>();
  const auto pass = activation == NormActivation::kSilu ? scale_lines_silu : scale_lines;
  lines.for_each([&](int64_t, int64_t first, int64_t count, int64_t width) {
    pass(in + first, out + first, count, width, line.mean.data(), line.scale.data(),
         line.offset.data());
  });
  return result;
}

ScaleGradients scale_channels_backward(const at::Tensor& x, const at::Tensor& gradient,
                                       const ChannelScales& scales, NormActivation activation) {
  const Lines lines(x);
  const RepeatedScales line(lines, scales);
  ScaleGradients result{at::empty_like(x), by_channel(lines, x), by_channel(lines, x)};
  const auto* in = x.const_data_ptr<float>();
  const auto* g = gradient.const_data_ptr<float>();
  auto* out = result.z.mutable_data_ptr<float>();
  BlockSums sums(lines);
  lines.for_each([&](int64_t block, int64_t first, int64_t count, int64_t width) {
    if (activation == NormActivation::kSilu) {
      silu_gradient(in + first, g + first, out + first, count, width, line.mean.data(),
                    line.scale.data(), line.offset.data());
    } else {
      std::copy_n(g + first, count * width, out + first);
    }
    add_products(in + first, out + first, count, width, line.mean.data(), sums.first(block),
                 sums.second(block));
  });
  auto* sum = result.sum.mutable_data_ptr<float>();
  auto* centered = result.centered.mutable_data_ptr<float>();
  for (int64_t c = 0; c < lines.channels(); ++c) {
    double first = 0;
    double second = 0;
    for (int64_t b = 0; b < lines.blocks(); ++b) {
      first += sums.first(b, c);
      second += sums.second(b, c);
    }
    sum[c] = static_cast<float>(first);
    centered[c] = static_cast<float>(second);
  }
  return result;
}

void center_gradient(at::Tensor& z, const at::Tensor& x, const ChannelScales& scales,
                     const at::Tensor& a, const at::Tensor& b) {
  const Lines lines(x);
  const RepeatedScales line(lines, scales);
  const std::vector<float> constants = lines.repeated(a);
  const std::vector<float> slopes = lines.repeated(b);
  const auto* in = x.const_data_ptr<float>();
  auto* out = z.mutable_data_ptr<float>();
  lines.for_each([&](int64_t, int64_t first, int64_t count, int64_t width) {
    center_lines(in + first, out + first, count, width, line.scale.data(), constants.data(),
                 slopes.data(), line.mean.data());
  });
}

}  // namespace yoloquant::train

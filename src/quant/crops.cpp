#include "quant/crops.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/clamp.h>
#include <ATen/ops/flip.h>
#include <ATen/ops/full.h>
#include <ATen/ops/mul.h>
#include <ATen/ops/ne.h>
#include <ATen/ops/nonzero.h>
#include <ATen/ops/upsample_bilinear2d.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "exec/convert.h"

namespace yoloquant::quant {

namespace {

constexpr int64_t kBorder = 114;
constexpr float kWholeImageRate = 0.25F;
constexpr float kMosaicRate = 0.125F;
constexpr int64_t kNoLessThan = 16;  // pixels of a scaled image's side

// First and last row (or column) that is not all border.
std::pair<int64_t, int64_t> content_range(const at::Tensor& is_content) {
  const at::Tensor found = at::nonzero(is_content);
  if (found.size(0) == 0) return {0, is_content.size(0)};
  return {found[0][0].item<int64_t>(), found[-1][0].item<int64_t>() + 1};
}

// `pixels` at another scale, cut or filled up to [3, height, width]; uint8 range.
at::Tensor fit(const at::Tensor& pixels, double scale, int64_t height, int64_t width,
               Random& random) {
  const auto scaled = [&](int64_t side) {
    return std::max(kNoLessThan,
                    static_cast<int64_t>(std::lround(static_cast<double>(side) * scale)));
  };
  const int64_t rows = scaled(pixels.size(1));
  const int64_t columns = scaled(pixels.size(2));
  at::Tensor x = pixels.to(c10::ScalarType::Float);
  if (rows != pixels.size(1) || columns != pixels.size(2)) {
    x = at::upsample_bilinear2d(x.unsqueeze(0), at::IntArrayRef({rows, columns}), false)[0];
  }
  const std::array<int64_t, 2> wanted{height, width};
  for (const int64_t axis : {int64_t{1}, int64_t{2}}) {
    const int64_t size = wanted[axis - 1];
    const int64_t spare = x.size(axis) - size;
    if (spare > 0) {
      const auto start = static_cast<int64_t>(random.below(static_cast<uint64_t>(spare + 1)));
      x = x.slice(axis, start, start + size);
    }
  }
  at::Tensor result = at::full({3, height, width}, static_cast<double>(kBorder), x.options());
  const int64_t top = (height - x.size(1)) / 2;
  const int64_t left = (width - x.size(2)) / 2;
  result.slice(1, top, top + x.size(1)).slice(2, left, left + x.size(2)).copy_(x);
  return result;
}

// Flip, brightness and contrast; scales to [0, 1].
at::Tensor vary(at::Tensor x, Random& random) {
  if (random.uniform() < 0.5F) x = at::flip(x, {2});
  x = at::mul(x, 1.0 / 255);
  if (random.uniform() < 0.5F) {
    const float contrast = random.uniform(0.7F, 1.3F);
    x = at::clamp(x.mul(contrast).add(random.uniform(-0.1F, 0.1F)), 0, 1);
  }
  return x;
}

double fitting_scale(const at::Tensor& pixels, int64_t height, int64_t width) {
  return std::min(static_cast<double>(height) / static_cast<double>(pixels.size(1)),
                  static_cast<double>(width) / static_cast<double>(pixels.size(2)));
}

at::Tensor batch_of(const at::Tensor& view) {
  return view.unsqueeze(0).contiguous(at::MemoryFormat::ChannelsLast);
}

at::Tensor cut(const at::Tensor& pixels, int64_t height, int64_t width, Random& random) {
  double scale = std::exp(random.uniform(std::log(0.5F), std::log(1.3F)));
  if (random.uniform() < kWholeImageRate) {
    scale = std::max(0.4, fitting_scale(pixels, height, width));
  }
  return vary(fit(pixels, scale, height, width, random), random);
}

}  // namespace

CropSource::CropSource(CalibrationData& images, int64_t first, int64_t last) {
  images.for_each_batch(first, last, 1, [&](const Tensor& batch) {
    height_ = batch.dim(2);
    width_ = batch.dim(3);
    const at::Tensor bytes = exec::view_of(batch)[0].mul(255).round_().to(c10::ScalarType::Byte);
    const at::Tensor content = at::ne(bytes, kBorder).any(0);
    const auto [top, bottom] = content_range(content.any(1));
    const auto [left, right] = content_range(content.any(0));
    images_.push_back({bytes.slice(1, top, bottom).slice(2, left, right).contiguous()});
  });
}

at::Tensor CropSource::draw_anew(Random& random) const {
  if (random.uniform() >= kMosaicRate) {
    return batch_of(cut(pick(random).pixels, height_, width_, random));
  }
  const auto row = [&](int64_t height) {
    const at::Tensor left = cut(pick(random).pixels, height, width_ / 2, random);
    return at::cat({left, cut(pick(random).pixels, height, width_ - width_ / 2, random)}, 2);
  };
  const at::Tensor top = row(height_ / 2);
  return batch_of(at::cat({top, row(height_ - height_ / 2)}, 1));
}

at::Tensor CropSource::draw_whole(Random& random) const {
  const at::Tensor& pixels = pick(random).pixels;
  const double scale = fitting_scale(pixels, height_, width_);
  return batch_of(vary(fit(pixels, scale, height_, width_, random), random));
}

}  // namespace yoloquant::quant

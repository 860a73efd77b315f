#include "quant/crops.h"

#include <ATen/ops/clamp.h>
#include <ATen/ops/flip.h>
#include <ATen/ops/full.h>
#include <ATen/ops/mul.h>
#include <ATen/ops/ne.h>
#include <ATen/ops/nonzero.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/upsample_bilinear2d.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <cmath>

#include "exec/convert.h"

namespace yoloquant::quant {

namespace {

constexpr int64_t kBorder = 114;
constexpr float kWholeImageRate = 0.25F;
constexpr int64_t kNoLessThan = 16;  // pixels of a scaled image's side

// First and last row (or column) that is not all border.
std::pair<int64_t, int64_t> content_range(const at::Tensor& is_content) {
  const at::Tensor found = at::nonzero(is_content);
  if (found.size(0) == 0) return {0, is_content.size(0)};
  return {found[0][0].item<int64_t>(), found[-1][0].item<int64_t>() + 1};
}

}  // namespace

CropSource::CropSource(CalibrationData& images, int64_t first, int64_t last) {
  images.for_each_batch(first, last, 1, [&](const Tensor& batch) {
    const at::Tensor bytes =
        exec::view_of(batch)[0].mul(255).round_().to(c10::ScalarType::Byte);
    const at::Tensor content = at::ne(bytes, kBorder).any(0);
    const auto [top, bottom] = content_range(content.any(1));
    const auto [left, right] = content_range(content.any(0));
    images_.push_back({bytes.slice(1, top, bottom).slice(2, left, right).contiguous()});
  });
}

at::Tensor CropSource::crop(const Image& image, int64_t size, Random& random) const {
  const int64_t height = image.pixels.size(1);
  const int64_t width = image.pixels.size(2);
  double scale = std::exp(random.uniform(std::log(0.5F), std::log(1.3F)));
  if (random.uniform() < kWholeImageRate) {
    scale = std::max(0.4, static_cast<double>(size) / static_cast<double>(std::max(height, width)));
  }
  const auto scaled = [&](int64_t side) {
    return std::max(kNoLessThan, static_cast<int64_t>(static_cast<double>(side) * scale + 0.5));
  };
  at::Tensor x = at::upsample_bilinear2d(image.pixels.to(c10::ScalarType::Float).unsqueeze(0),
                                         at::IntArrayRef({scaled(height), scaled(width)}), false)[0];
  for (const int64_t axis : {int64_t{1}, int64_t{2}}) {
    const int64_t spare = x.size(axis) - size;
    if (spare > 0) {
      const auto start = static_cast<int64_t>(random.below(static_cast<uint64_t>(spare + 1)));
      x = x.slice(axis, start, start + size);
    }
  }
  at::Tensor result = at::full({3, size, size}, static_cast<double>(kBorder), x.options());
  const int64_t top = (size - x.size(1)) / 2;
  const int64_t left = (size - x.size(2)) / 2;
  result.slice(1, top, top + x.size(1)).slice(2, left, left + x.size(2)).copy_(x);
  if (random.uniform() < 0.5F) result = at::flip(result, {2});
  result = at::mul(result, 1.0 / 255);
  if (random.uniform() < 0.5F) {
    const float contrast = random.uniform(0.7F, 1.3F);
    result = at::clamp(result.mul(contrast).add(random.uniform(-0.1F, 0.1F)), 0, 1);
  }
  return result;
}

at::Tensor CropSource::draw(int64_t count, int64_t size, Random& random) const {
  std::vector<at::Tensor> crops;
  for (int64_t i = 0; i < count; ++i) {
    crops.push_back(crop(images_[random.below(images_.size())], size, random));
  }
  return at::stack(crops).contiguous(at::MemoryFormat::ChannelsLast);
}

}  // namespace yoloquant::quant

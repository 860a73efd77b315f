#include "quant/bias_correction.h"

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <map>
#include <vector>

#include "base/error.h"
#include "exec/executor.h"
#include "quant/simd.h"
#include "quant/simd_math.h"

namespace yoloquant::quant {
namespace {

// Sums over pixels, by input channel.
struct ChannelSums {
  std::vector<double> value;
  std::vector<double> error;  // q(x) - x
  double pixels = 0;
};

constexpr int64_t kLanes = 16;

struct Codes {
  float scale;
  float zero;
  float qmin;
  float qmax;
};

// Adds `count` pixels of kLanes channels each, `stride` floats apart.
YOLOQUANT_SIMD void add_lanes(const float* x, int64_t count, int64_t stride, const Codes& codes,
                              float* values, float* errors) {
  const Codes c = codes;
  float value[kLanes] = {};
  float error[kLanes] = {};
  for (int64_t i = 0; i < count; ++i, x += stride) {
    for (int64_t j = 0; j < kLanes; ++j) {
      float code = ((x[j] / c.scale + kRounder) - kRounder) + c.zero;
      code = code < c.qmin ? c.qmin : code;
      code = code > c.qmax ? c.qmax : code;
      value[j] += x[j];
      error[j] += (code - c.zero) * c.scale - x[j];
    }
  }
  for (int64_t j = 0; j < kLanes; ++j) {
    values[j] = value[j];
    errors[j] = error[j];
  }
}

// REQUIRES: `image` is one image, channels innermost.
void add_image(const float* image, int64_t channels, int64_t pixels, const Codes& codes,
               ChannelSums& sums) {
  constexpr int64_t kBlock = 1024;  // pixels summed in float
  float values[kLanes];
  float errors[kLanes];
  for (int64_t first = 0; first < channels; first += kLanes) {
    const int64_t lanes = std::min(kLanes, channels - first);
    for (int64_t pixel = 0; pixel < pixels; pixel += kBlock) {
      const int64_t count = std::min(kBlock, pixels - pixel);
      const float* const begin = image + pixel * channels + first;
      if (lanes == kLanes) {
        add_lanes(begin, count, channels, codes, values, errors);
      } else {
        std::vector<float> padded(static_cast<size_t>(count * kLanes), 0);
        for (int64_t i = 0; i < count; ++i) {
          std::copy_n(begin + i * channels, lanes, padded.begin() + i * kLanes);
        }
        add_lanes(padded.data(), count, kLanes, codes, values, errors);
      }
      for (int64_t j = 0; j < lanes; ++j) {
        sums.value[first + j] += values[j];
        sums.error[first + j] += errors[j];
      }
    }
  }
}

void add_batch(const at::Tensor& input, const std::optional<graph::Quantizer>& quantizer,
               ChannelSums& sums) {
  const at::Tensor x = input.to(at::kCPU, at::kFloat).contiguous(at::MemoryFormat::ChannelsLast);
  const int64_t channels = x.size(1);
  const int64_t pixels = x.size(2) * x.size(3);
  sums.value.resize(channels);
  sums.error.resize(channels);
  // A float input: any grid will do, its errors are dropped.
  Codes codes{1, 0, -1, 1};
  if (quantizer) {
    codes = {quantizer->scale.at(0), static_cast<float>(quantizer->zero_point.at(0)),
             static_cast<float>(quantizer->qmin), static_cast<float>(quantizer->qmax)};
  }
  for (int64_t i = 0; i < x.size(0); ++i) {
    add_image(x.const_data_ptr<float>() + i * channels * pixels, channels, pixels, codes, sums);
    sums.pixels += static_cast<double>(pixels);
  }
  if (!quantizer) std::ranges::fill(sums.error, 0);
}

// Adds E[W x] - E[W' x'] to the bias.
void correct(graph::Graph& annotated, const graph::Graph& reference, const std::string& conv,
             const ChannelSums& sums) {
  const Tensor& original = reference.parameter(conv + ".weight");
  Tensor quantized = annotated.parameter(conv + ".weight");
  if (const auto& quantizer = annotated.quantization.at(conv).weight) {
    quantized = graph::dequantize(graph::quantize(quantized, *quantizer), *quantizer);
  }
  const auto w = original.data<float>();
  const auto q = quantized.data<float>();
  const auto bias = annotated.parameters.at(conv + ".bias").mutable_data<float>();
  const int64_t outputs = original.dim(0);
  const int64_t inputs = original.dim(1);  // of a group
  const int64_t kernel = original.size() / (outputs * inputs);
  const int64_t groups = static_cast<int64_t>(sums.value.size()) / inputs;
  size_t i = 0;
  for (int64_t o = 0; o < outputs; ++o) {
    const int64_t first = o / (outputs / groups) * inputs;
    double shift = 0;
    for (int64_t c = 0; c < inputs; ++c) {
      const double mean = sums.value[first + c] / sums.pixels;
      const double error = sums.error[first + c] / sums.pixels;
      for (int64_t k = 0; k < kernel; ++k, ++i) shift += w[i] * mean - q[i] * (mean + error);
    }
    bias[o] = static_cast<float>(bias[o] + shift);
  }
}

}  // namespace

void BiasCorrection::apply(graph::Graph& annotated, const MethodContext& context) {
  std::vector<std::string> convs;
  for (const auto& [conv, annotation] : annotated.quantization) {
    if (annotated.parameters.contains(conv + ".bias")) convs.push_back(conv);
  }
  if (convs.empty()) return;
  std::map<std::string, ChannelSums> sums;
  exec::Executor executor(context.reference,
                          {.device = context.calibration.device, .fake_quantize = false});
  executor.set_tap(
      [&](const graph::Node& node, const std::vector<at::Tensor>& inputs,
          const std::vector<at::Tensor>&) {
        add_batch(inputs.at(0), annotated.quantization.at(node.name).input, sums[node.name]);
      },
      convs);
  executor.set_stop_after_taps(true);
  const int64_t count = std::min(kImages, context.images.size());
  if (count == 0) fail("bias correction needs at least one image");
  int64_t done = 0;
  context.progress.start("correcting biases", count);
  context.images.for_each_batch(0, count, std::max(context.calibration.batch, 1),
                                [&](const Tensor& batch) {
                                  executor.run(std::vector<Tensor>{batch});
                                  done += batch.dim(0);
                                  context.progress.update(done);
                                });
  context.progress.finish();
  for (const std::string& conv : convs) {
    with_context(conv, [&] { correct(annotated, context.reference, conv, sums.at(conv)); });
  }
}

}  // namespace yoloquant::quant

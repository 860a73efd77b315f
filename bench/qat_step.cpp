// Times training steps with and without quantization, in turn, on made-up images; and fake
// quantization alone against the same as a chain of elementwise operators.
#include <ATen/Parallel.h>
#include <ATen/ops/clamp.h>
#include <ATen/ops/div.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/full.h>
#include <ATen/ops/mul.h>
#include <ATen/ops/rand.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <functional>
#include <limits>

#include "base/memory.h"
#include "model/model.h"
#include "quant/straight_through.h"
#include "train/lsq.h"
#include "train/quantized_training.h"
#include "train/training_annotations.h"

namespace yoloquant {
namespace {

double least_seconds(int runs, const std::function<void()>& body) {
  body();
  double least = std::numeric_limits<double>::infinity();
  for (int i = 0; i < runs; ++i) {
    const auto start = std::chrono::steady_clock::now();
    body();
    const std::chrono::duration<double> time = std::chrono::steady_clock::now() - start;
    least = std::min(least, time.count());
  }
  return least;
}

void compare_quantizers(int runs) {
  const at::Tensor x = at::rand({4, 64, 80, 80}).requires_grad_(true);
  const at::Tensor log_step = at::full({1}, -5.0).requires_grad_(true);
  const at::Tensor zero = at::full({1}, 12.0);
  const at::Tensor gradient = at::rand(x.sizes());
  const auto run = [&](const std::function<at::Tensor()>& quantize) {
    return least_seconds(runs, [&] {
      quantize().backward(gradient);
      x.mutable_grad() = at::Tensor();
      log_step.mutable_grad() = at::Tensor();
    });
  };
  const double own = run([&] { return train::quantize_activation(x, log_step, zero, {0, 255}); });
  const double chain = run([&] {
    const at::Tensor step = at::exp(log_step);
    const at::Tensor code = at::clamp(at::div(x, step), -12, 243);
    return at::mul(quant::straight_through_round(code), step);
  });
  std::printf("activation of %lld values, forward and backward: %.2f ms, elementwise %.2f ms\n",
              static_cast<long long>(x.numel()), 1e3 * own, 1e3 * chain);
}

void compare_steps(const char* definition, int64_t side, int64_t batch, int runs) {
  graph::Graph graph = model::build(model::load_definition(definition), side, side);
  model::initialize(graph, 0);
  train::TrainableGraph model(graph);
  const at::Tensor images = at::rand({batch, 3, side, side});
  const auto step = [&](train::QuantizedTraining* qat) {
    const train::Logits logits = model.forward(images, train::NormMode::kTraining);
    logits.one2many.classes.sum().add(logits.one2many.boxes.sum()).backward();
    if (qat != nullptr) {
      qat->before_step(0.5);
      qat->after_step(0.5);
    }
    for (const auto& [name, parameter] : model.parameters()) {
      parameter.mutable_grad() = at::Tensor();
    }
  };
  const double floats = least_seconds(runs, [&] { step(nullptr); });
  std::printf("float: %.3f s a step\n", floats);
  for (const char* scheme : {"w4a16", "w4a8"}) {
    quant::QuantizationConfig config;
    config.scheme = quant::parse_scheme(scheme);
    train::QatOptions options;
    options.freezing = true;
    options.freeze_threshold = 1;
    options.final_freeze_threshold = 1;
    train::QuantizedTraining qat(model, train::annotate_for_training(graph, config), options);
    qat.set_input_ranges(1, [&](int64_t) { return at::Tensor(images); });
    const double quantized = least_seconds(runs, [&] { step(&qat); });
    const double bookkeeping = least_seconds(runs, [&] {
      qat.before_step(0.5);
      qat.after_step(0.5);
    });
    std::printf("%s: %.3f s a step, %.3f of it before_step and after_step\n", scheme, quantized,
                bookkeeping);
  }
}

}  // namespace
}  // namespace yoloquant

int main(int argc, char** argv) {
  if (argc != 6) {
    std::fprintf(stderr, "usage: %s DEFINITION SIDE BATCH STEPS THREADS\n", argv[0]);
    return 2;
  }
  try {
    yoloquant::keep_freed_memory();
    at::set_num_threads(std::atoi(argv[5]));
    yoloquant::compare_quantizers(10);
    yoloquant::compare_steps(argv[1], std::atoi(argv[2]), std::atoi(argv[3]), std::atoi(argv[4]));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return 1;
  }
  return 0;
}

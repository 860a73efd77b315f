// Times training steps (forward, loss, backward, clipping, SGD, running mean) of a definition with
// fresh weights on made-up images: without data loading, which other benchmarks measure.
#include <ATen/Parallel.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/floor_divide.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/randint.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>

#include "base/memory.h"
#include "model/model.h"
#include "train/ema.h"
#include "train/loss.h"
#include "train/optimizer.h"

namespace yoloquant {
namespace {

constexpr int64_t kBoxesOfAnImage = 7;

train::Targets made_targets(int64_t batch, int64_t side) {
  const int64_t count = batch * kBoxesOfAnImage;
  const at::Tensor from = at::rand({count, 2}).mul(0.7 * static_cast<double>(side));
  const at::Tensor size = at::rand({count, 2}).mul(0.25).add(0.04).mul(static_cast<double>(side));
  return {at::arange(count).floor_divide(kBoxesOfAnImage), at::randint(80, {count}, at::kLong),
          at::cat({from, from.add(size)}, 1)};
}

void run(const char* definition, int64_t side, int64_t batch, int steps) {
  graph::Graph graph = model::build(model::load_definition(definition), side, side);
  model::initialize(graph, 0);
  train::TrainableGraph model(graph);
  train::Optimizer optimizer(train::OptimizerKind::kSgd, train::parameter_groups(model, 5e-4));
  quant::ParameterAverage ema = train::make_ema(model);
  const at::Tensor images = at::rand({batch, 3, side, side});
  const train::Targets targets = made_targets(batch, side);
  for (int i = 0; i <= steps; ++i) {
    const auto start = std::chrono::steady_clock::now();
    const train::DetectionLoss loss =
        train::detection_loss(model.forward(images, train::NormMode::kTraining), targets);
    const auto middle = std::chrono::steady_clock::now();
    loss.total.backward();
    const auto end = std::chrono::steady_clock::now();
    optimizer.clip_gradients(10);
    optimizer.step(std::vector<double>{0.01, 0.01, 0.01}, 0.9);
    optimizer.clear_gradients();
    ema.update();
    const auto last = std::chrono::steady_clock::now();
    const auto seconds = [](auto a, auto b) {
      return std::chrono::duration<double>(b - a).count();
    };
    if (i == 0) continue;  // warm-up
    std::printf("%.2f images/s: forward and loss %.3f s, backward %.3f s, step %.3f s, loss %.2f\n",
                static_cast<double>(batch) / seconds(start, last), seconds(start, middle),
                seconds(middle, end), seconds(end, last), loss.total.item<double>());
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
    yoloquant::run(argv[1], std::atoi(argv[2]), std::atoi(argv[3]), std::atoi(argv[4]));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return 1;
  }
  return 0;
}

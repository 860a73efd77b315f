// Speed of what surrounds the network: reading and letterboxing images, NMS, COCO evaluation's
// bootstrap. Images are synthetic 640x480 JPEGs, or the folder in YOLOQUANT_BENCH_IMAGES.
//   build/release/bin/data_bench
#include <benchmark/benchmark.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>

#include "base/random.h"
#include "data/prepared_images.h"
#include "data/shapes.h"
#include "eval/bootstrap.h"
#include "eval/decode.h"

namespace yoloquant {
namespace {

data::ImageList bench_images() {
  if (const char* folder = std::getenv("YOLOQUANT_BENCH_IMAGES")) {
    return data::read_image_list(folder);
  }
  const auto root = std::filesystem::temp_directory_path() / "yoloquant-bench-shapes";
  data::write_shapes(root, {.train_images = 1, .val_images = 40, .width = 640, .height = 480}, 2);
  return data::read_image_list(root / "val2017");
}

// Files to network inputs.
void prepare_images(benchmark::State& state) {
  const data::ImageList list = bench_images();
  data::LoaderOptions options;
  options.threads = static_cast<int>(state.range(0));
  for ([[maybe_unused]] auto _ : state) {
    data::PreparedImages images(list, options);
    data::PreparedImage image;
    while (images.next(image)) benchmark::DoNotOptimize(image.input.data());
  }
  state.SetItemsProcessed(state.iterations() * static_cast<int64_t>(list.size()));
}
BENCHMARK(prepare_images)->Arg(1)->Arg(2)->UseRealTime()->Unit(benchmark::kMillisecond);

void decode_jpeg(benchmark::State& state) {
  const data::ImageList list = bench_images();
  for ([[maybe_unused]] auto _ : state)
    benchmark::DoNotOptimize(data::read_image(list[0]).bgr.data());
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(decode_jpeg)->Unit(benchmark::kMillisecond);

// A decoded image to the network's input; the argument is its longer side.
void letterbox_image(benchmark::State& state) {
  const int width = static_cast<int>(state.range(0));
  const data::Image image(width, width * 3 / 4);
  std::vector<float> input(3 * 640 * 640);
  for ([[maybe_unused]] auto _ : state) {
    data::letterbox(image, 640, 640, input);
    benchmark::DoNotOptimize(input.data());
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(letterbox_image)->Arg(640)->Arg(500)->Arg(1920)->Unit(benchmark::kMillisecond);

// [84, 8400]; a share of 2^-x of the scores passes .001.
std::vector<float> random_head(int64_t share) {
  constexpr size_t kAnchors = 8400;
  Random random(1);
  std::vector<float> raw(84 * kAnchors, 1e-5F);
  for (size_t a = 0; a < kAnchors; ++a) {
    raw[a] = random.uniform(0, 640);
    raw[kAnchors + a] = random.uniform(0, 640);
    raw[2 * kAnchors + a] = random.uniform(10, 200);
    raw[3 * kAnchors + a] = random.uniform(10, 200);
  }
  for (size_t i = 4 * kAnchors; i < raw.size(); ++i) {
    if (random.below(uint64_t{1} << share) == 0) raw[i] = 0.001F + std::pow(random.uniform(), 6.0F);
  }
  return raw;
}

void nms_one2many(benchmark::State& state) {
  const std::vector<float> raw = random_head(state.range(0));
  for ([[maybe_unused]] auto _ : state) benchmark::DoNotOptimize(eval::decode_one2many(raw, 80));
  state.SetItemsProcessed(state.iterations());
}
// About 1300 candidates, as real images have; 21000; and all 672000.
BENCHMARK(nms_one2many)->Arg(9)->Arg(5)->Arg(0)->Unit(benchmark::kMillisecond);

void topk_one2one(benchmark::State& state) {
  const std::vector<float> raw = random_head(9);
  for ([[maybe_unused]] auto _ : state) benchmark::DoNotOptimize(eval::decode_one2one(raw, 80));
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(topk_one2one)->Unit(benchmark::kMillisecond);

// Matches of `images` images with 7 objects and 300 detections each, 80 classes.
eval::MatchTable random_matches(uint32_t images) {
  Random random(2);
  eval::MatchTable table;
  for (uint32_t i = 0; i < images; ++i) table.image_ids.push_back(i);
  for (int c = 0; c < 80; ++c) {
    eval::ClassMatches matches;
    for (uint32_t i = 0; i < images * 7 / 80; ++i) {
      matches.positives.push_back({static_cast<uint32_t>(random.below(images)), 1});
    }
    for (uint32_t i = 0; i < images * 300 / 80; ++i) {
      const auto image = static_cast<uint32_t>(random.below(images));
      const float rank = static_cast<float>(i) / static_cast<float>(images * 300 / 80);
      const bool right = random.uniform() < 0.5F * std::exp(-30 * rank);
      const auto tp = static_cast<uint16_t>(right ? (2U << random.below(10)) - 1 : 0);
      matches.detections.push_back({image, tp, static_cast<uint16_t>(1023 & ~tp), 1 - rank});
    }
    table.classes.push_back(std::move(matches));
  }
  return table;
}

void bootstrap_100_resamples(benchmark::State& state) {
  const eval::MatchTable table = random_matches(static_cast<uint32_t>(state.range(0)));
  for ([[maybe_unused]] auto _ : state)
    benchmark::DoNotOptimize(eval::bootstrap(table, {.resamples = 100}));
}
BENCHMARK(bootstrap_100_resamples)->Arg(100)->Arg(5000)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace yoloquant

BENCHMARK_MAIN();

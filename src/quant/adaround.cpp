#include "quant/adaround.h"

#include <algorithm>

#include "base/error.h"
#include "base/random.h"
#include "exec/executor.h"

namespace yoloquant::quant {

namespace {

int64_t image_count(const MethodContext& context, const AdaRoundOptions& options) {
  const int64_t bytes = std::max<int64_t>(walk_bytes_per_image(context.reference), 1);
  const int64_t fitting = std::max<int64_t>(options.memory / bytes, 1);
  return std::min({options.images, context.images.size(), fitting});
}

}  // namespace

AdaRoundOptions adaround_options(Effort effort) {
  AdaRoundOptions options;
  if (effort == Effort::kFast) return options;
  options.images = 64;
  options.block.iterations = 600;
  if (effort == Effort::kMax) {
    options.images = 128;
    options.block.iterations = 4000;
  }
  return options;
}

std::vector<BlockResult> run_adaround(graph::Graph& annotated, const MethodContext& context,
                                      const AdaRoundOptions& options) {
  if (context.images.size() == 0) fail("learned rounding needs images");
  const std::vector<Block> blocks = find_blocks(annotated);
  const auto is_fitted = [&](const Block& block) {
    return has_fitted_convs(annotated, context.reference, block) && !block.outputs.empty();
  };
  const int64_t total = std::ranges::count_if(blocks, is_fitted);
  if (total == 0) return {};
  const int64_t done_before = take_count(context.state, total);
  const int64_t iterations = options.block.iterations;
  std::vector<BlockResult> results;
  int64_t done = 0;
  context.progress.start("learning the rounding of blocks", total * iterations);
  const auto fit = [&](const PairedBlock& data) {
    // Blocks share what is left of the time.
    const Budget clock(Effort::kFast, std::max(context.budget.seconds_left(), 0.0) /
                                          static_cast<double>(total - done));
    const auto fraction = [&](int64_t step) {
      context.progress.update(done * iterations + std::min(step, iterations), data.block.name);
      const double elapsed = clock.elapsed_seconds();
      const double left = std::max(clock.seconds_left(), 0.0);
      const double by_time = left > 0 ? elapsed / (elapsed + left) : 1.0;
      return std::max(static_cast<double>(step) / static_cast<double>(iterations), by_time);
    };
    const uint64_t seed = splitmix64_mix(context.budget.seed() + fnv1a64(data.block.name));
    results.push_back(with_context(data.block.name, [&] {
      return reconstruct_block(annotated, context.reference, data, options.block, seed, fraction);
    }));
  };
  walk_blocks(context.reference, annotated, blocks, context.images, image_count(context, options),
              [&](const PairedBlock& data) {
                if (!is_fitted(data.block)) return done < total;
                if (done >= done_before) fit(data);
                ++done;
                if (done > done_before) save_count(context.state, annotated, done);
                return done < total;
              });
  context.progress.finish();
  return results;
}

void AdaRound::apply(graph::Graph& annotated, const MethodContext& context) {
  AdaRoundOptions options = adaround_options(context.budget.effort());
  options.block.device = exec::resolve_device(context.calibration.device);
  run_adaround(annotated, context, options);
}

}  // namespace yoloquant::quant

#include "cli/train_ranks.h"

#include <charconv>
#include <cstdlib>
#include <string_view>

#include "base/error.h"
#include "base/launcher.h"
#include "base/parallel.h"
#include "exec/executor.h"

namespace yoloquant::cli {

bool launch_copies(int processes, int64_t batch, Context& context) {
  if (processes == 1 || rank_environment()) return false;
  if (batch % processes != 0) {
    fail_usage("--batch {} is not a multiple of --nproc {}: every process takes as many images",
               batch, processes);
  }
  if (processes > default_threads()) {
    context.warn("--nproc {}: there are only {} CPUs for them", processes, default_threads());
  }
  launch_ranks({.command = context.command_line(), .processes = processes});
  return true;
}

RankEnvironment own_rank() { return rank_environment().value_or(RankEnvironment{}); }

std::string device_of(const RankEnvironment& rank, const std::string& name) {
  std::string device = exec::resolve_device(name);
  if (rank.world_size == 1 || device == "cpu") return device;
  if (name.starts_with("cuda:")) {
    fail_usage("--device {} is one GPU, and each process needs its own: use --device cuda", name);
  }
  return exec::resolve_device(fmt::format("cuda:{}", rank.local_rank));
}

int threads_of(const RankEnvironment& rank, int threads) {
  const char* text = std::getenv("OMP_NUM_THREADS");
  if (threads > 0 || rank.world_size == 1 || text == nullptr) return threads;
  const std::string_view digits = text;
  std::from_chars(digits.data(), digits.data() + digits.size(), threads);
  return threads;
}

}  // namespace yoloquant::cli

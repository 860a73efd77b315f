#pragma once

#include <string>

#include "base/rank_environment.h"
#include "cli/command.h"

// Several processes in one training, as the commands that train start and know them.
namespace yoloquant::cli {

// --nproc: starts this command `processes` times and waits for all to end (see launch_ranks). False
// when this process is to do the work itself: it is the only one, or one that was started. Throws
// Error (usage) for a batch that cannot be shared out.
bool launch_copies(int processes, int64_t batch, Context& context);

// This process among those that train together, as the environment says; without it the only one.
RankEnvironment own_rank();

// The device of this process, as LibTorch names it: with several, a GPU of its own. `name` is auto,
// cpu, cuda or cuda:N. Throws Error when there is none.
std::string device_of(const RankEnvironment& rank, const std::string& name);

// --threads; where there are several processes and it is not given, OMP_NUM_THREADS.
int threads_of(const RankEnvironment& rank, int threads);

}  // namespace yoloquant::cli

#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

// Several processes that do one job together: each is a rank of the world, and rank 0 is where the
// others meet.
namespace yoloquant {

struct RankEnvironment {
  int rank = 0;                              // in [0, world_size)
  int world_size = 1;                        // processes of the job
  int local_rank = 0;                        // on this machine: the number of the process's GPU
  std::string master_address = "127.0.0.1";  // host of rank 0
  int master_port = 29500;                   // where rank 0 listens
};

// What the environment says; nullopt: this is a single process. Read are RANK, WORLD_SIZE,
// LOCAL_RANK (default: RANK), MASTER_ADDR and MASTER_PORT (default: 29500), as torchrun and
// launch_ranks set them. When RANK is not set but MASTER_ADDR is, the ranks are those of mpirun
// (Open MPI, MPICH, Intel MPI) or srun. Throws Error (usage) when a variable is missing or out of
// range.
std::optional<RankEnvironment> rank_environment();

// The five variables, for a process to be started.
std::vector<std::pair<std::string, std::string>> variables_of(const RankEnvironment& environment);

}  // namespace yoloquant

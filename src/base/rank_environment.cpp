#include "base/rank_environment.h"

#include <array>
#include <charconv>
#include <cstdlib>
#include <string_view>

#include "base/error.h"

namespace yoloquant {

namespace {

// How launchers call the same three numbers.
struct RankNames {
  const char* rank;
  const char* world_size;
  const char* local_rank;
};
constexpr RankNames kUsual = {"RANK", "WORLD_SIZE", "LOCAL_RANK"};
constexpr std::array<RankNames, 3> kLaunchers = {
    {{"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK"},
     {"PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID"},
     {"SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID"}}};

constexpr int kMaxRanks = 1 << 16;

int number_in(const char* name, std::string_view text, int low, int high) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < low || value > high) {
    fail_usage("environment: {}={} should be a number from {} to {}", name, text, low, high);
  }
  return value;
}

const char* required(const char* name, const char* because) {
  const char* text = std::getenv(name);
  if (text == nullptr) {
    fail_usage(
        "environment: {} is set and {} is not: start all ranks with one launcher (--nproc, "
        "torchrun, mpirun, srun)",
        because, name);
  }
  return text;
}

const RankNames* names_in_use() {
  if (std::getenv(kUsual.rank) != nullptr) return &kUsual;
  if (std::getenv(kUsual.world_size) != nullptr) required(kUsual.rank, kUsual.world_size);
  // A batch script is given a rank as well, though nothing starts the others: what asks for
  // several processes is the address to meet at.
  if (std::getenv("MASTER_ADDR") == nullptr) return nullptr;
  for (const RankNames& names : kLaunchers) {
    if (std::getenv(names.rank) != nullptr) return &names;
  }
  return nullptr;
}

}  // namespace

std::optional<RankEnvironment> rank_environment() {
  const RankNames* names = names_in_use();
  if (names == nullptr) return std::nullopt;
  RankEnvironment found;
  found.world_size =
      number_in(names->world_size, required(names->world_size, names->rank), 1, kMaxRanks);
  found.rank = number_in(names->rank, required(names->rank, names->rank), 0, found.world_size - 1);
  const char* local_rank = std::getenv(names->local_rank);
  found.local_rank = local_rank == nullptr
                         ? found.rank
                         : number_in(names->local_rank, local_rank, 0, found.world_size - 1);
  if (found.world_size > 1) found.master_address = required("MASTER_ADDR", names->rank);
  if (found.master_address.empty()) fail_usage("environment: MASTER_ADDR is empty");
  if (const char* port = std::getenv("MASTER_PORT")) {
    found.master_port = number_in("MASTER_PORT", port, 1, 65535);
  }
  return found;
}

std::vector<std::pair<std::string, std::string>> variables_of(const RankEnvironment& environment) {
  return {{"RANK", std::to_string(environment.rank)},
          {"WORLD_SIZE", std::to_string(environment.world_size)},
          {"LOCAL_RANK", std::to_string(environment.local_rank)},
          {"MASTER_ADDR", environment.master_address},
          {"MASTER_PORT", std::to_string(environment.master_port)}};
}

}  // namespace yoloquant

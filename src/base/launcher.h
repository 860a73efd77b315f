#pragma once

#include <chrono>
#include <string>
#include <vector>

// Starts one program several times on this machine and watches over the processes as one job.
namespace yoloquant {

struct LaunchOptions {
  std::vector<std::string> command;  // path of the program, then its arguments
  int processes = 2;
  // File to which all is appended that rank 0 writes; "": it writes where this process writes.
  std::string log = {};
  // When a rank has failed, the others have `notice` to find out and end by themselves. Then they
  // get SIGTERM, and SIGKILL when that has not ended them after `grace`.
  std::chrono::milliseconds notice{5000};
  std::chrono::milliseconds grace{10000};
};

// Runs `command` once per rank, with the variables of rank_environment() set (a free port on
// loopback) and OMP_NUM_THREADS, unless it is set already (the CPUs divided by the ranks). Of what
// ranks write that is not shown only the last lines are kept, for the error. No rank reads stdin.
//
// Returns when all ranks have ended with status 0. Throws
//   Error that names the first rank that failed, its status or signal and the last lines it wrote
//     (Kind::kUsage for status 2); no process is left then;
//   Interrupted after SIGINT or SIGTERM to this process, which is passed on to all ranks, once they
//     have ended by it (status 128 + signal, by the signal itself, or 0).
// Ranks also get SIGTERM when this process dies. REQUIRES: install_interrupt_handlers() before.
void launch_ranks(const LaunchOptions& options);

// A port of 127.0.0.1 that nothing listens on right now. Throws Error when sockets are not allowed.
int free_loopback_port();

}  // namespace yoloquant

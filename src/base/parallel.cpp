#include "base/parallel.h"

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <fstream>
#include <iterator>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/cpu_quota.h"

namespace yoloquant {

namespace {

int allowed_cpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  int cpus = sched_getaffinity(0, sizeof(set), &set) == 0 ? std::max(1, CPU_COUNT(&set)) : 1;
  std::ifstream file("/proc/self/cgroup");
  const std::string groups{std::istreambuf_iterator<char>(file), {}};
  for (const char* root : {"/sys/fs/cgroup", "/sys/fs/cgroup/cpu"}) {
    if (const int quota = cpu_quota(groups, root); quota > 0) cpus = std::min(cpus, quota);
  }
  return cpus;
}

}  // namespace

int default_threads() {
  static const int cpus = allowed_cpus();
  return cpus;
}

void parallel_for(size_t count, int threads, const std::function<void(size_t)>& body) {
  if (threads <= 0) threads = default_threads();
  const size_t workers = std::min(count, static_cast<size_t>(threads));
  std::atomic<size_t> next{0};
  std::atomic<bool> stop{false};
  std::exception_ptr error;
  std::mutex error_mutex;
  const auto work = [&] {
    while (!stop) {
      const size_t item = next++;
      if (item >= count) return;
      try {
        body(item);
      } catch (...) {
        const std::lock_guard lock(error_mutex);
        if (!error) error = std::current_exception();
        stop = true;
      }
    }
  };
  std::vector<std::thread> pool;
  for (size_t i = 1; i < workers; ++i) pool.emplace_back(work);
  work();
  for (std::thread& thread : pool) thread.join();
  if (error) std::rethrow_exception(error);
}

void parallel_for_blocks(size_t count, int threads,
                         const std::function<void(size_t, size_t)>& body) {
  if (threads <= 0) threads = default_threads();
  const size_t blocks = std::min(count, static_cast<size_t>(threads));
  parallel_for(blocks, threads,
               [&](size_t block) { body(count * block / blocks, count * (block + 1) / blocks); });
}

}  // namespace yoloquant

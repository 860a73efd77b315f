#pragma once

#include <c10/util/intrusive_ptr.h>

#include <condition_variable>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

namespace c10d {
class Store;
}

namespace yoloquant::train {

// Tells which rank is gone when an operation of several has failed: a closed connection does not
// say so, and ranks that end because of the first look like it. Each rank counts up a number in the
// store that rank 0 keeps, from a thread of its own, so that a long computation is no silence.
class RankHeartbeat {
 public:
  // REQUIRES: no one else uses `store`, a connection of this object's own.
  RankHeartbeat(c10::intrusive_ptr<c10d::Store> store, int rank, int size);
  ~RankHeartbeat();
  RankHeartbeat(const RankHeartbeat&) = delete;
  RankHeartbeat& operator=(const RankHeartbeat&) = delete;

  // The first rank found to be gone, on which all ranks agree; nullopt: all are alive. Takes two to
  // four seconds, in which the others find out, too. The heartbeat is over then.
  std::optional<int> find_lost_rank();

 private:
  void beat();
  bool wait(std::chrono::milliseconds time);  // false: the thread is to end
  void stop();
  std::optional<int> find_silent_rank();

  c10::intrusive_ptr<c10d::Store> store_;
  const int rank_;
  const int size_;
  std::mutex mutex_;
  std::condition_variable stopped_;
  bool stop_ = false;
  std::optional<int> verdict_;  // of another rank; written by the thread alone until it ends
  std::thread thread_;
};

}  // namespace yoloquant::train

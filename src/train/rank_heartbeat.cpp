#include "train/rank_heartbeat.h"

#include <chrono>
#include <exception>
#include <torch/csrc/distributed/c10d/Store.hpp>
#include <vector>

namespace yoloquant::train {

namespace {

constexpr std::chrono::milliseconds kPeriod{400};
constexpr std::chrono::milliseconds kSilence{2000};  // after which a rank counts as gone
constexpr std::chrono::milliseconds kToRead{1200};   // rank 0 stays for the others to read
constexpr const char* kVerdict = "lost_rank";

std::string beat_of(int rank) { return "beat/" + std::to_string(rank); }

}  // namespace

RankHeartbeat::RankHeartbeat(c10::intrusive_ptr<c10d::Store> store, int rank, int size)
    : store_(std::move(store)), rank_(rank), size_(size) {
  store_->add(beat_of(rank_), 1);
  thread_ = std::thread([this] { beat(); });
}

RankHeartbeat::~RankHeartbeat() { stop(); }

void RankHeartbeat::stop() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  stopped_.notify_all();
  if (thread_.joinable()) thread_.join();
}

bool RankHeartbeat::wait(std::chrono::milliseconds time) {
  std::unique_lock lock(mutex_);
  return !stopped_.wait_for(lock, time, [this] { return stop_; });
}

void RankHeartbeat::beat() {
  try {
    while (wait(kPeriod)) {
      store_->add(beat_of(rank_), 1);
      if (!verdict_ && store_->check({kVerdict}))
        verdict_ = std::stoi(store_->get_to_str(kVerdict));
    }
  } catch (const std::exception&) {
    // The store is gone, which find_lost_rank sees for itself; or the run has ended.
  }
}

std::optional<int> RankHeartbeat::find_lost_rank() {
  std::optional<int> silent;
  try {
    silent = find_silent_rank();
  } catch (const std::exception&) {
    silent = 0;  // keeps the store
  }
  stop();
  if (verdict_) return verdict_;
  if (!silent || *silent == 0) return silent;
  try {
    silent = std::stoi(store_->compareSet(kVerdict, "", std::to_string(*silent)));
    if (rank_ == 0) std::this_thread::sleep_for(kToRead);
  } catch (const std::exception&) {
    // Rank 0 has ended in the meantime, because of the rank that was found.
  }
  return silent;
}

std::optional<int> RankHeartbeat::find_silent_rank() {
  // The thread uses the store meanwhile; a store serves one call after the other.
  const auto beats = [this] {
    std::vector<int64_t> counts;
    for (int rank = 0; rank < size_; ++rank) counts.push_back(store_->add(beat_of(rank), 0));
    return counts;
  };
  const std::vector<int64_t> before = beats();
  if (!wait(kSilence)) return std::nullopt;
  const std::vector<int64_t> after = beats();
  for (int rank = 0; rank < size_; ++rank) {
    const auto i = static_cast<size_t>(rank);
    if (rank != rank_ && after[i] == before[i]) return rank;
  }
  return std::nullopt;
}

}  // namespace yoloquant::train

#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

namespace yoloquant::quant {

// Threads that each do one item at a time, with a short queue before them: put() waits while it is
// full, so that memory stays bounded.
template <typename Item>
class WorkerPool {
 public:
  using Work = std::function<void(size_t worker, const Item& item)>;

  WorkerPool(size_t workers, Work work) : work_(std::move(work)), capacity_(workers) {
    for (size_t i = 0; i < workers; ++i) threads_.emplace_back([this, i] { run(i); });
  }
  ~WorkerPool() {
    stop();
    join();
  }
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  // Rethrows what a worker threw; no more work is done after that.
  void put(Item item) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return queue_.size() < capacity_ || error_; });
    if (error_) std::rethrow_exception(error_);
    queue_.push_back(std::move(item));
    changed_.notify_all();
  }

  // Waits until everything is done. Rethrows what a worker threw.
  void finish() {
    {
      const std::lock_guard lock(mutex_);
      closed_ = true;
    }
    changed_.notify_all();
    join();
    if (error_) std::rethrow_exception(error_);
  }

 private:
  void stop() {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    queue_.clear();
    changed_.notify_all();
  }

  void join() {
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
  }

  std::optional<Item> take() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return !queue_.empty() || closed_ || error_; });
    if (queue_.empty() || error_) return std::nullopt;
    std::optional<Item> item(std::move(queue_.front()));
    queue_.pop_front();
    changed_.notify_all();
    return item;
  }

  void run(size_t worker) {
    try {
      while (const std::optional<Item> item = take()) work_(worker, *item);
    } catch (...) {
      const std::lock_guard lock(mutex_);
      if (!error_) error_ = std::current_exception();
      changed_.notify_all();
    }
  }

  Work work_;
  size_t capacity_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Item> queue_;
  bool closed_ = false;
  std::exception_ptr error_;
  std::vector<std::thread> threads_;
};

}  // namespace yoloquant::quant

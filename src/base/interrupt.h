#pragma once

#include "base/error.h"
#include "base/progress.h"

// Clean interruption of long jobs: a signal sets a flag, and work stops at the next step.
namespace yoloquant {

// What a job throws when it stops because it was asked to.
class Interrupted : public Error {
 public:
  explicit Interrupted(int signal);
  // 128 + signal, as shells have it.
  int shell_status() const { return 128 + signal_; }

 private:
  int signal_;
};

// From now on SIGINT and SIGTERM request an interruption. The second signal ends the process as if
// there were no handler.
void install_interrupt_handlers();

// Async-signal-safe.
void request_interrupt(int signal);
void clear_interrupt();
bool interrupt_requested();
int interrupt_signal();  // that requested it; 0: none did

// Throws Interrupted when one was requested.
void check_interrupt();

// Passes everything on to another sink and throws Interrupted from start() and update(), so that
// every loop that reports progress can be stopped. REQUIRES: the loop's caller cleans up when a
// call to the sink throws.
class InterruptibleProgress : public Progress {
 public:
  explicit InterruptibleProgress(Progress& sink) : sink_(sink) {}

  void start(std::string_view task, int64_t total) override;
  void update(int64_t done, std::string_view note) override;
  void finish() override { sink_.finish(); }

 private:
  Progress& sink_;
};

// The other way round: takes Interrupted back from a sink that throws it, for a loop that asks
// itself where it can stop.
class UninterruptedProgress : public Progress {
 public:
  explicit UninterruptedProgress(Progress& sink) : sink_(sink) {}

  void start(std::string_view task, int64_t total) override;
  void update(int64_t done, std::string_view note) override;
  void finish() override { sink_.finish(); }

 private:
  Progress& sink_;
};

}  // namespace yoloquant

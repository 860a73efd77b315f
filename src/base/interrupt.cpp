#include "base/interrupt.h"

#include <csignal>

namespace yoloquant {
namespace {

volatile std::sig_atomic_t requested_signal = 0;

extern "C" void on_interrupt(int signal) {
  // A second request means that the first was not enough.
  if (requested_signal != 0) {
    std::signal(signal, SIG_DFL);
    std::raise(signal);
    return;
  }
  requested_signal = signal;
}

}  // namespace

Interrupted::Interrupted(int signal)
    : Error(signal == SIGTERM ? "interrupted by SIGTERM" : "interrupted"), signal_(signal) {}

void install_interrupt_handlers() {
  struct sigaction action = {};
  action.sa_handler = on_interrupt;
  sigemptyset(&action.sa_mask);
  action.sa_flags = SA_RESTART;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

void request_interrupt(int signal) { requested_signal = signal; }
void clear_interrupt() { requested_signal = 0; }
bool interrupt_requested() { return requested_signal != 0; }
int interrupt_signal() { return requested_signal; }

void check_interrupt() {
  const int signal = requested_signal;
  if (signal != 0) throw Interrupted(signal);
}

void InterruptibleProgress::start(std::string_view task, int64_t total) {
  check_interrupt();
  sink_.start(task, total);
}

void InterruptibleProgress::update(int64_t done, std::string_view note) {
  check_interrupt();
  sink_.update(done, note);
}

void UninterruptedProgress::start(std::string_view task, int64_t total) {
  try {
    sink_.start(task, total);
  } catch (const Interrupted&) {
    // The flag stays set.
  }
}

void UninterruptedProgress::update(int64_t done, std::string_view note) {
  try {
    sink_.update(done, note);
  } catch (const Interrupted&) {
    // The flag stays set.
  }
}

}  // namespace yoloquant

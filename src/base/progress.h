#pragma once

#include <cstdint>
#include <string_view>

namespace yoloquant {

// Where long jobs report how far they are. Libraries call it and print nothing themselves; the
// command line draws a line with rate and time left.
class Progress {
 public:
  virtual ~Progress() = default;

  // A task of `total` steps ("calibrating", 100) begins; it replaces the one before.
  virtual void start(std::string_view task, int64_t total) = 0;
  // `done` steps are finished; `note` is a short figure such as "loss 0.031".
  virtual void update(int64_t done, std::string_view note = {}) = 0;
  virtual void finish() = 0;

  // A sink that ignores everything.
  static Progress& none();
};

}  // namespace yoloquant

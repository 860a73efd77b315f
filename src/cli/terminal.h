#pragma once

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

#include "base/progress.h"

namespace yoloquant::cli {

// Draws one line on stderr with rate and time left, at most ten times a second:
//   calibrating  37/100  12.4/s  5.1 s left  loss 0.031
class TerminalProgress : public Progress {
 public:
  ~TerminalProgress() override { clear(); }
  void start(std::string_view task, int64_t total) override;
  void update(int64_t done, std::string_view note) override;
  void finish() override;

  // Removes the line, so that other text can be written; the next update draws it again.
  void clear();

 private:
  using Clock = std::chrono::steady_clock;
  std::string task_;
  int64_t total_ = 0;
  Clock::time_point begin_;
  Clock::time_point drawn_;
  bool visible_ = false;
};

// The text of that line.
std::string progress_line(std::string_view task, int64_t done, int64_t total, double seconds,
                          std::string_view note);

bool stderr_is_terminal();

// Rows of equal length as aligned columns, two spaces between; the first row is the header. Columns
// whose cells below the header all look like numbers are aligned to the right.
std::string format_table(const std::vector<std::vector<std::string>>& rows);

}  // namespace yoloquant::cli

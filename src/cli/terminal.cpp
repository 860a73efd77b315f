#include "cli/terminal.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cstdio>

#include "base/text.h"

namespace yoloquant::cli {

namespace {

constexpr std::chrono::milliseconds kRedraw{100};

bool looks_numeric(const std::string& cell) {
  return cell.empty() || std::isdigit(static_cast<unsigned char>(cell[0])) != 0 ||
         (cell.size() > 1 && (cell[0] == '-' || cell[0] == '+' || cell[0] == '.')) || cell == "-";
}

// Code points, which is what UTF-8 text takes on the screen (nearly).
size_t width_of(const std::string& cell) {
  return static_cast<size_t>(
      std::count_if(cell.begin(), cell.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

}  // namespace

std::string progress_line(std::string_view task, int64_t done, int64_t total, double seconds,
                          std::string_view note) {
  std::string line =
      total > 0 ? fmt::format("{}  {}/{}", task, done, total) : fmt::format("{}  {}", task, done);
  if (done > 0 && seconds > 0) {
    const double rate = static_cast<double>(done) / seconds;
    line += rate >= 1 ? fmt::format("  {:.1f}/s", rate) : fmt::format("  {:.1f} s each", 1 / rate);
    if (total > done) {
      line += fmt::format("  {} left", human_seconds(static_cast<double>(total - done) / rate));
    }
  }
  if (!note.empty()) line += fmt::format("  {}", note);
  return line;
}

void TerminalProgress::start(std::string_view task, int64_t total) {
  clear();
  task_ = task;
  total_ = total;
  begin_ = Clock::now();
  drawn_ = begin_ - 2 * kRedraw;
  update(0, {});
}

void TerminalProgress::update(int64_t done, std::string_view note) {
  const Clock::time_point now = Clock::now();
  if (now - drawn_ < kRedraw) return;
  drawn_ = now;
  const double seconds = std::chrono::duration<double>(now - begin_).count();
  fmt::print(stderr, "\r\x1b[K{}", progress_line(task_, done, total_, seconds, note));
  std::fflush(stderr);
  visible_ = true;
}

void TerminalProgress::finish() { clear(); }

void TerminalProgress::clear() {
  if (!visible_) return;
  fmt::print(stderr, "\r\x1b[K");
  std::fflush(stderr);
  visible_ = false;
}

bool stderr_is_terminal() { return isatty(STDERR_FILENO) == 1; }

std::string format_table(const std::vector<std::vector<std::string>>& rows) {
  if (rows.empty()) return "";
  const size_t columns = rows[0].size();
  std::vector<size_t> widths(columns, 0);
  std::vector<bool> numeric(columns, rows.size() > 1);
  for (size_t r = 0; r < rows.size(); ++r) {
    for (size_t c = 0; c < columns; ++c) {
      widths[c] = std::max(widths[c], width_of(rows[r].at(c)));
      if (r > 0 && !looks_numeric(rows[r][c])) numeric[c] = false;
    }
  }
  std::string text;
  for (const auto& row : rows) {
    std::string line;
    for (size_t c = 0; c < columns; ++c) {
      const std::string padding(widths[c] - width_of(row[c]), ' ');
      if (c > 0) line += "  ";
      line += numeric[c] ? padding + row[c] : row[c] + padding;
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + '\n';
  }
  return text;
}

}  // namespace yoloquant::cli

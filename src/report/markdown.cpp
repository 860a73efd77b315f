#include "report/markdown.h"

#include <algorithm>
#include <utility>

#include "base/error.h"

namespace yoloquant::report {

std::string escape_cell(const std::string& text) {
  std::string escaped;
  for (const char c : text) {
    if (c == '|' || c == '\\') escaped += '\\';
    escaped += c == '\n' || c == '\r' ? ' ' : c;
  }
  return escaped;
}

std::string link(const std::string& path) {
  std::string target;
  for (const char c : path) {
    if (c == ' ') {
      target += "%20";
    } else {
      target += c;
    }
  }
  return fmt::format("[{}]({})", path, target);
}

Table::Table(std::vector<std::string> header) { rows_.push_back(std::move(header)); }

void Table::add(std::vector<std::string> cells) {
  if (cells.size() != rows_.front().size()) {
    fail("a row of {} cells in a table of {} columns", cells.size(), rows_.front().size());
  }
  for (std::string& cell : cells) cell = escape_cell(cell);
  rows_.push_back(std::move(cells));
}

std::string Table::markdown() const {
  std::vector<size_t> widths(rows_.front().size(), 3);
  for (const auto& row : rows_) {
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string text;
  for (size_t r = 0; r < rows_.size(); ++r) {
    for (size_t i = 0; i < widths.size(); ++i) {
      text += fmt::format("| {:<{}} ", rows_[r][i], widths[i]);
    }
    text += "|\n";
    if (r > 0) continue;
    for (const size_t width : widths) text += fmt::format("|{:-<{}}", "", width + 2);
    text += "|\n";
  }
  return text;
}

}  // namespace yoloquant::report

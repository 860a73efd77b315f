#pragma once

#include <string>
#include <vector>

namespace yoloquant::report {

// A table in GitHub's Markdown, columns padded so that the text reads well too.
class Table {
 public:
  explicit Table(std::vector<std::string> header);

  // REQUIRES: as many cells as the header has.
  void add(std::vector<std::string> cells);
  std::string markdown() const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

// [path](path)
std::string link(const std::string& path);

// Characters that mean something in a cell of a table are escaped.
std::string escape_cell(const std::string& text);

}  // namespace yoloquant::report

#include "report/results_csv.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <limits>
#include <map>

#include "base/error.h"
#include "base/file.h"
#include "base/text.h"

namespace yoloquant::report {
namespace {

constexpr uintmax_t kMaxBytes = uintmax_t{64} << 20;
constexpr double kMaxEpoch = 1e9;

// The cells of one line by their column; empty cells are left out.
class Row {
 public:
  Row(const std::vector<std::string>& columns, const std::vector<std::string>& cells) {
    if (cells.size() != columns.size()) {
      fail("{} cells in place of {}", cells.size(), columns.size());
    }
    for (size_t i = 0; i < cells.size(); ++i) {
      const std::string text = trim(cells[i]);
      if (text.empty()) continue;
      double value = 0;
      const char* end = text.data() + text.size();
      const auto [rest, status] = std::from_chars(text.data(), end, value);
      if (rest != end || status != std::errc()) {
        fail("'{}' in column {} is no number", text.substr(0, 40), columns[i]);
      }
      values_[columns[i]] = value;
    }
  }

  std::optional<double> find(const std::string& column) const {
    const auto found = values_.find(column);
    if (found == values_.end()) return {};
    return found->second;
  }
  double get(const std::string& column) const {
    return find(column).value_or(std::numeric_limits<double>::quiet_NaN());
  }

 private:
  std::map<std::string, double> values_;
};

EpochRecord to_record(const Row& row) {
  EpochRecord record;
  const double epoch = row.get("epoch");
  if (!(epoch >= 1 && epoch <= kMaxEpoch) || epoch != std::floor(epoch)) {
    fail("the epoch is not a number from 1");
  }
  record.epoch = static_cast<int64_t>(epoch) - 1;
  Losses val{};
  bool validated = true;
  for (size_t i = 0; i < kLossColumns.size(); ++i) {
    record.train_losses[i] = row.get(fmt::format("train/{}", kLossColumns[i]));
    const auto loss = row.find(fmt::format("val/{}", kLossColumns[i]));
    validated = validated && loss.has_value();
    val[i] = loss.value_or(0);
  }
  if (validated) record.val_losses = val;
  record.precision = row.find("metrics/precision(B)");
  record.recall = row.find("metrics/recall(B)");
  record.map50 = row.find("metrics/mAP50(B)");
  record.map = row.find("metrics/mAP50-95(B)");
  for (size_t i = 0; i < record.rates.size(); ++i) {
    record.rates[i] = row.get(fmt::format("lr/pg{}", i));
  }
  return record;
}

std::vector<EpochRecord> parse(const std::string& text) {
  std::vector<EpochRecord> records;
  std::vector<double> times;  // of the records
  std::vector<std::string> columns;
  size_t number = 0;
  for (const std::string& line : split(text, '\n')) {
    ++number;
    if (trim(line).empty()) continue;
    with_context(fmt::format("line {}", number), [&] {
      std::vector<std::string> cells = split(line, ',');
      if (columns.empty()) {
        for (std::string& cell : cells) columns.push_back(trim(cell));
        if (columns[0] != "epoch")
          fail("no results of a training: the first column is not 'epoch'");
        return;
      }
      const Row row(columns, cells);
      EpochRecord record = to_record(row);
      while (!records.empty() && records.back().epoch >= record.epoch) {
        records.pop_back();
        times.pop_back();
      }
      const double time = row.find("time").value_or(0);
      const double before = times.empty() ? 0 : times.back();
      // Ultralytics' clock starts again when a training is resumed.
      record.seconds = time >= before ? time - before : time;
      records.push_back(record);
      times.push_back(time);
    });
  }
  return records;
}

}  // namespace

std::string results_csv(std::span<const EpochRecord> epochs) {
  std::string text = "epoch,time";
  for (const auto& [name, value] : named_values({})) text += "," + name;
  text += "\n";
  double time = 0;
  for (const EpochRecord& record : epochs) {
    time += record.seconds;
    text += fmt::format("{},{:.3f}", record.epoch + 1, time);
    for (const auto& [name, value] : named_values(record)) {
      text += value ? fmt::format(",{:.6g}", *value) : ",";
    }
    text += "\n";
  }
  return text;
}

std::vector<EpochRecord> read_results_csv(const std::filesystem::path& path) {
  std::error_code error;
  const uintmax_t size = std::filesystem::file_size(path, error);
  if (!error && size > kMaxBytes) {
    fail("{}: too large for results of a training ({} bytes)", path.string(), size);
  }
  const std::string text = read_file(path);
  return with_context(path.string(), [&] { return parse(text); });
}

}  // namespace yoloquant::report

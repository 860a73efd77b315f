#include "report/train_recorder.h"

#include <fmt/format.h>

#include <charconv>

#include "base/file.h"
#include "base/text.h"

namespace yoloquant::report {

namespace {

constexpr const char* kHeader =
    "epoch,time,train/box_om,train/cls_om,train/dfl_om,train/box_oo,train/cls_oo,train/dfl_oo,"
    "metrics/precision(B),metrics/recall(B),metrics/mAP50(B),metrics/mAP50-95(B),"
    "val/box_om,val/cls_om,val/dfl_om,val/box_oo,val/cls_oo,val/dfl_oo,lr/pg0,lr/pg1,lr/pg2\n";

std::string field(const std::optional<double>& value) {
  return value ? fmt::format(",{:.5g}", *value) : ",";
}

}  // namespace

TrainRecorder::TrainRecorder(const std::filesystem::path& folder, int64_t epochs_done)
    : csv_(folder / "results.csv"), rows_(kHeader) {
  if (epochs_done == 0 || !std::filesystem::exists(csv_)) return;
  for (const std::string& line : split(read_file(csv_), '\n')) {
    int64_t epoch = 0;
    std::from_chars(line.data(), line.data() + line.size(), epoch);
    if (epoch >= 1 && epoch <= epochs_done) rows_ += line + '\n';
  }
}

void TrainRecorder::add(const EpochRecord& record) {
  std::string row = fmt::format("{},{:.1f}", record.epoch + 1, record.seconds);
  for (const double loss : record.train_losses) row += field(loss);
  for (const auto& metric : {record.precision, record.recall, record.map50, record.map}) {
    row += field(metric);
  }
  for (size_t i = 0; i < record.train_losses.size(); ++i) {
    row += record.val_losses ? field((*record.val_losses)[i]) : field({});
  }
  for (const double rate : record.rates) row += field(rate);
  rows_ += row + '\n';
  write_file(csv_, rows_);
}

}  // namespace yoloquant::report

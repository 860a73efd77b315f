#include "report/train_record.h"

#include <fmt/format.h>

namespace yoloquant::report {

std::vector<NamedValue> named_values(const EpochRecord& record) {
  std::vector<NamedValue> values;
  for (size_t i = 0; i < kLossColumns.size(); ++i) {
    values.emplace_back(fmt::format("train/{}", kLossColumns[i]), record.train_losses[i]);
  }
  values.emplace_back("metrics/precision(B)", record.precision);
  values.emplace_back("metrics/recall(B)", record.recall);
  values.emplace_back("metrics/mAP50(B)", record.map50);
  values.emplace_back("metrics/mAP50-95(B)", record.map);
  for (size_t i = 0; i < kLossColumns.size(); ++i) {
    std::optional<double> loss;
    if (record.val_losses) loss = (*record.val_losses)[i];
    values.emplace_back(fmt::format("val/{}", kLossColumns[i]), loss);
  }
  for (size_t i = 0; i < record.rates.size(); ++i) {
    values.emplace_back(fmt::format("lr/pg{}", i), record.rates[i]);
  }
  return values;
}

}  // namespace yoloquant::report

#include "pipeline/harm_record.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"

namespace yoloquant::pipeline {

HarmRecord::HarmRecord(std::filesystem::path path, std::string fingerprint)
    : file_(std::move(path), std::move(fingerprint)) {}

std::optional<std::vector<double>> HarmRecord::read(size_t count) const {
  if (!exists()) return std::nullopt;
  const std::filesystem::path& path = file_.path();
  std::string fingerprint;
  std::vector<double> harms;
  try {
    const auto json = nlohmann::json::parse(read_file(path));
    json.at("fingerprint").get_to(fingerprint);
    json.at("harms").get_to(harms);
  } catch (const nlohmann::json::exception&) {
    fail("{} is damaged; delete it to start again", path.string());
  }
  file_.expect_own(fingerprint);
  if (harms.size() != count || !std::ranges::all_of(harms, [](double h) { return h >= 0; })) {
    fail("{} does not fit the model; delete it to start again", path.string());
  }
  return harms;
}

void HarmRecord::write(std::span<const double> harms) const {
  if (!file_.enabled()) return;
  const nlohmann::json json{{"fingerprint", file_.fingerprint()},
                            {"harms", std::vector<double>(harms.begin(), harms.end())}};
  write_file(file_.path(), json.dump() + "\n");
}

}  // namespace yoloquant::pipeline

#include "pipeline/harm_record.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"

namespace yoloquant::pipeline {

HarmRecord::HarmRecord(std::filesystem::path path, std::string fingerprint)
    : path_(std::move(path)), fingerprint_(std::move(fingerprint)) {}

std::optional<std::vector<double>> HarmRecord::read(size_t count) const {
  if (path_.empty() || !std::filesystem::exists(path_)) return std::nullopt;
  std::string fingerprint;
  std::vector<double> harms;
  try {
    const auto json = nlohmann::json::parse(read_file(path_));
    json.at("fingerprint").get_to(fingerprint);
    json.at("harms").get_to(harms);
  } catch (const nlohmann::json::exception&) {
    fail("{} is damaged; delete it to start again", path_.string());
  }
  if (fingerprint != fingerprint_) {
    fail("{} belongs to a run with other settings; delete it, or leave out --resume",
         path_.string());
  }
  if (harms.size() != count || !std::ranges::all_of(harms, [](double h) { return h >= 0; })) {
    fail("{} does not fit the model; delete it to start again", path_.string());
  }
  return harms;
}

void HarmRecord::write(std::span<const double> harms) const {
  if (path_.empty()) return;
  const nlohmann::json json{{"fingerprint", fingerprint_},
                            {"harms", std::vector<double>(harms.begin(), harms.end())}};
  write_file(path_, json.dump() + "\n");
}

void HarmRecord::remove() const {
  std::error_code ignored;
  if (!path_.empty()) std::filesystem::remove(path_, ignored);
}

}  // namespace yoloquant::pipeline

#include "quant/method.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "base/error.h"
#include "base/text.h"
#include "quant/adaround.h"
#include "quant/bias_correction.h"
#include "quant/gptq.h"
#include "quant/nearest.h"
#include "quant/teacher.h"

namespace yoloquant::quant {
namespace {

// On COCO, weights of 7 and 8 bits lose nothing when they are rounded to nearest.
constexpr int kBitsThatNearestHolds = 7;

using Factory = std::function<std::unique_ptr<Method>()>;

std::map<std::string, Factory>& registry() {
  static std::map<std::string, Factory> methods{
      {"adaround", [] { return std::make_unique<AdaRound>(); }},
      {"gptq", [] { return std::make_unique<Gptq>(); }},
      {"nearest", [] { return std::make_unique<Nearest>(); }},
      {"teacher", [] { return std::make_unique<Teacher>(); }},
      {"bias", [] { return std::make_unique<BiasCorrection>(); }},
  };
  return methods;
}

}  // namespace

int64_t held_out_count(int64_t images, double share) {
  constexpr int64_t kLeastImages = 8;
  if (images < kLeastImages) return 0;
  return std::clamp<int64_t>(std::llround(static_cast<double>(images) * share), 2, 16);
}

void register_method(const std::string& name, Factory make) {
  if (!registry().emplace(name, std::move(make)).second) fail("method '{}' exists already", name);
}

std::vector<std::string> method_names() {
  std::vector<std::string> names;
  for (const auto& [name, make] : registry()) names.push_back(name);
  return names;
}

std::string resolve_method(const QuantizationConfig& config, Effort effort) {
  if (config.method != "auto") return config.method;
  if (settings_for(config, "").weight_bits >= kBitsThatNearestHolds) return "nearest";
  return effort == Effort::kFast ? "gptq" : "gptq,teacher";
}

MethodList parse_methods(std::string_view list) {
  MethodList methods;
  for (const std::string& part : split(list, ',')) {
    const std::string name = trim(part);
    if (name.empty()) fail_usage("empty name in the method list '{}'", list);
    const auto entry = registry().find(name);
    if (entry == registry().end()) {
      const std::vector<std::string> known = method_names();
      const std::string near = closest_match(name, known);
      std::string names;
      for (const std::string& other : known) names += (names.empty() ? "" : ", ") + other;
      fail_usage("unknown method '{}'; {}", name,
                 near.empty() ? "known are " + names : "did you mean '" + near + "'?");
    }
    methods.push_back(entry->second());
  }
  if (methods.empty()) fail_usage("no method given");
  return methods;
}

}  // namespace yoloquant::quant

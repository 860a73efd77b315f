#include "quant/config.h"

#include "base/error.h"
#include "base/text.h"
#include "quant/config_fields.h"

namespace yoloquant::quant {
namespace {

void apply(const LayerOverrides& overrides, LayerSettings& settings) {
  visit_fields(overrides, [&](std::string_view, const auto& value, auto member) {
    if (value) settings.*member = *value;
  });
}

}  // namespace

bool rule_matches(const LayerRule& rule, std::string_view conv) {
  if (glob_match(rule.match, conv)) return true;
  const size_t length = rule.match.size();
  return conv.size() > length && conv[length] == '.' && conv.substr(0, length) == rule.match;
}

LayerSettings settings_for(const QuantizationConfig& config, std::string_view conv) {
  LayerSettings settings;
  settings.weight_bits = config.scheme.weight_bits;
  settings.activation_bits = config.scheme.activation_bits;
  apply(config.defaults, settings);
  for (const LayerRule& rule : config.rules) {
    if (rule_matches(rule, conv)) apply(rule.overrides, settings);
  }
  return settings;
}

void check_rules(const QuantizationConfig& config, const std::vector<std::string>& convs) {
  for (const LayerRule& rule : config.rules) {
    bool matched = false;
    for (const std::string& conv : convs) matched = matched || rule_matches(rule, conv);
    if (matched) continue;
    const std::string near = closest_match(rule.match, convs);
    fail_usage("layer rule '{}' matches no conv{}", rule.match,
               near.empty() ? "" : "; did you mean '" + near + "'?");
  }
}

}  // namespace yoloquant::quant

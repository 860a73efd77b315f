#include <yaml-cpp/yaml.h>

#include <charconv>
#include <cmath>

#include "base/error.h"
#include "base/file.h"
#include "base/text.h"
#include "quant/config.h"
#include "quant/config_fields.h"

namespace yoloquant::quant {
namespace {

constexpr double kLargestActivation = 1e30;

[[noreturn]] void fail_at(const YAML::Node& node, const std::string& message) {
  fail_usage("line {}: {}", node.Mark().line + 1, message);
}

std::string joined(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

[[noreturn]] void fail_unknown(const YAML::Node& node, const char* what, const std::string& word,
                               const std::vector<std::string>& known) {
  const std::string near = closest_match(word, known);
  fail_at(node, fmt::format(
                    "unknown {} '{}'; {}", what, word,
                    near.empty() ? "known are " + joined(known) : "did you mean '" + near + "'?"));
}

std::string scalar(const YAML::Node& node, std::string_view key) {
  if (!node.IsScalar()) fail_at(node, fmt::format("'{}' needs a single value", key));
  return node.Scalar();
}

// Values may be left out in rules, but not be empty where they are given.
template <typename T>
T number(const YAML::Node& node, std::string_view key) {
  const std::string text = scalar(node, key);
  T value{};
  const auto result = std::from_chars(text.data(), text.data() + text.size(), value);
  if (result.ec != std::errc() || result.ptr != text.data() + text.size()) {
    fail_at(node, fmt::format("'{}' needs a number, not '{}'", key, text));
  }
  return value;
}

template <typename Enum>
Enum enum_value(const YAML::Node& node, std::string_view key) {
  const std::string text = scalar(node, key);
  std::vector<std::string> names;
  for (const auto& [name, value] : EnumNames<Enum>::kNames) {
    if (name == text) return value;
    names.emplace_back(name);
  }
  fail_unknown(node, std::string(key).c_str(), text, names);
}

void read_value(const YAML::Node& node, std::string_view key, std::optional<bool>& value) {
  const std::string text = lower(scalar(node, key));
  if (text != "true" && text != "false") {
    fail_at(node, fmt::format("'{}' needs true or false, not '{}'", key, text));
  }
  value = text == "true";
}

void read_value(const YAML::Node& node, std::string_view key, std::optional<int>& value) {
  value = number<int>(node, key);
  const bool weight = key == "weight_bits";
  if (weight ? !valid_weight_bits(*value) : !valid_activation_bits(*value)) {
    fail_at(node, fmt::format("'{}' is {}: {}", key, *value,
                              weight ? "2 to 8" : "4 to 8, or 16 (float)"));
  }
}

void read_value(const YAML::Node& node, std::string_view key, std::optional<double>& value) {
  value = number<double>(node, key);
  struct Limits {
    double least;
    double most;
    const char* text;
  };
  const auto limits = [&]() -> Limits {
    if (key == "percentile") return {std::nextafter(50.0, 51.0), 100, "above 50, at most 100"};
    if (key == "activation_low") return {-kLargestActivation, 0, "at most 0"};
    if (key == "activation_high") return {0, kLargestActivation, "at least 0"};
    return {1, 8, "1 to 8"};
  }();
  if (!(*value >= limits.least && *value <= limits.most)) {
    fail_at(node, fmt::format("'{}' is {}: {}", key, *value, limits.text));
  }
}

template <typename Enum>
void read_value(const YAML::Node& node, std::string_view key, std::optional<Enum>& value) {
  value = enum_value<Enum>(node, key);
}

// Reads one setting; false when there is none of that name.
bool read_setting(const std::string& key, const YAML::Node& node, LayerOverrides& overrides) {
  bool found = false;
  visit_fields(overrides, [&](std::string_view name, auto& value, auto) {
    if (name != key) return;
    found = true;
    read_value(node, name, value);
  });
  return found;
}

std::vector<std::string> setting_names() {
  std::vector<std::string> names;
  const LayerOverrides overrides;
  visit_fields(overrides,
               [&](std::string_view name, const auto&, auto) { names.emplace_back(name); });
  return names;
}

void require_map(const YAML::Node& node, std::string_view what) {
  if (!node.IsMap()) fail_at(node, fmt::format("{} needs 'key: value' entries", what));
}

LayerRule read_rule(const YAML::Node& node) {
  require_map(node, "a layer rule");
  LayerRule rule;
  for (const auto& entry : node) {
    const std::string key = scalar(entry.first, "key");
    if (key == "match") {
      rule.match = scalar(entry.second, key);
    } else if (!read_setting(key, entry.second, rule.overrides)) {
      std::vector<std::string> known = setting_names();
      known.emplace_back("match");
      fail_unknown(entry.first, "setting", key, known);
    }
  }
  if (rule.match.empty()) fail_at(node, "a layer rule needs 'match'");
  return rule;
}

void read_defaults(const YAML::Node& node, LayerOverrides& defaults) {
  require_map(node, "'defaults'");
  for (const auto& entry : node) {
    const std::string key = scalar(entry.first, "key");
    if (!read_setting(key, entry.second, defaults)) {
      fail_unknown(entry.first, "setting", key, setting_names());
    }
  }
}

void read_entry(const std::string& key, const YAML::Node& name, const YAML::Node& node,
                QuantizationConfig& config) {
  if (key == "scheme") {
    config.scheme = parse_scheme(scalar(node, key));
  } else if (key == "preset") {
    config.preset = enum_value<Preset>(node, key);
  } else if (key == "method") {
    config.method = scalar(node, key);
  } else if (key == "defaults") {
    read_defaults(node, config.defaults);
  } else if (key == "layers") {
    if (!node.IsSequence()) fail_at(node, "'layers' needs a list of rules");
    for (const auto& rule : node) config.rules.push_back(read_rule(rule));
  } else {
    fail_unknown(name, "key", key, {"scheme", "preset", "method", "defaults", "layers"});
  }
}

void write_value(YAML::Emitter& out, bool value) { out << (value ? "true" : "false"); }
void write_value(YAML::Emitter& out, int value) { out << value; }
void write_value(YAML::Emitter& out, double value) { out << fmt::format("{}", value); }
template <typename Enum>
void write_value(YAML::Emitter& out, Enum value) {
  for (const auto& [name, candidate] : EnumNames<Enum>::kNames) {
    if (candidate == value) out << std::string(name);
  }
}

void write_overrides(YAML::Emitter& out, const LayerOverrides& overrides) {
  visit_fields(overrides, [&](std::string_view name, const auto& value, auto) {
    if (!value) return;
    out << YAML::Key << std::string(name) << YAML::Value;
    write_value(out, *value);
  });
}

template <typename Enum>
Enum parse_enum(std::string_view text, const char* what) {
  std::vector<std::string> names;
  for (const auto& [name, value] : EnumNames<Enum>::kNames) {
    if (name == text) return value;
    names.emplace_back(name);
  }
  fail_usage("unknown {} '{}': one of {}", what, text, joined(names));
}

template <typename Enum>
std::string_view enum_name(Enum value) {
  for (const auto& [name, candidate] : EnumNames<Enum>::kNames) {
    if (candidate == value) return name;
  }
  fail("value {} has no name", static_cast<int>(value));
}

}  // namespace

QuantizationConfig parse_config(std::string_view yaml, std::string_view source) {
  return with_context(std::string(source), [&] {
    QuantizationConfig config;
    try {
      const YAML::Node root = YAML::Load(std::string(yaml));
      if (!root.IsDefined() || root.IsNull()) return config;
      require_map(root, "the file");
      for (const auto& entry : root) {
        read_entry(scalar(entry.first, "key"), entry.first, entry.second, config);
      }
    } catch (const YAML::Exception& error) {
      fail_usage("line {}: {}", error.mark.line + 1, error.msg);
    }
    return config;
  });
}

QuantizationConfig read_config(const std::filesystem::path& path) {
  return parse_config(read_file(path), path.string());
}

std::string config_yaml(const QuantizationConfig& config) {
  YAML::Emitter out;
  out << YAML::BeginMap;
  out << YAML::Key << "scheme" << YAML::Value << scheme_name(config.scheme);
  out << YAML::Key << "preset" << YAML::Value << std::string(preset_name(config.preset));
  out << YAML::Key << "method" << YAML::Value << config.method;
  out << YAML::Key << "defaults" << YAML::Value << YAML::BeginMap;
  write_overrides(out, config.defaults);
  out << YAML::EndMap;
  out << YAML::Key << "layers" << YAML::Value << YAML::BeginSeq;
  for (const LayerRule& rule : config.rules) {
    out << YAML::BeginMap << YAML::Key << "match" << YAML::Value << YAML::DoubleQuoted
        << rule.match;
    write_overrides(out, rule.overrides);
    out << YAML::EndMap;
  }
  out << YAML::EndSeq << YAML::EndMap;
  return std::string(out.c_str()) + "\n";
}

RangeMethod parse_range_method(std::string_view name) {
  return parse_enum<RangeMethod>(name, "activation range");
}
std::string_view range_method_name(RangeMethod method) { return enum_name(method); }
Preset parse_preset(std::string_view name) { return parse_enum<Preset>(name, "preset"); }
std::string_view preset_name(Preset preset) { return enum_name(preset); }

}  // namespace yoloquant::quant

#include "cli/config_file.h"

#include <yaml-cpp/yaml.h>

#include <set>

#include "base/error.h"
#include "base/file.h"
#include "base/text.h"

namespace yoloquant::cli {

namespace {

constexpr size_t kMaxConfigBytes = size_t{4} << 20;

std::string at_line(const std::string& source, const YAML::Mark& mark) {
  return fmt::format("{}, line {}", source, mark.line + 1);
}

YAML::Node load_yaml(std::string_view text, const std::string& source) {
  if (text.size() > kMaxConfigBytes) fail_usage("{}: larger than 4 MiB", source);
  try {
    return YAML::Load(std::string(text));
  } catch (const YAML::Exception& error) {
    fail_usage("{}: {}", at_line(source, error.mark), error.msg);
  }
}

std::string block_text(const YAML::Node& node) {
  YAML::Emitter emitter;
  emitter << node;
  return emitter.c_str();
}

std::vector<std::string> node_texts(const YAML::Node& node, const Option& option) {
  if (option.kind == OptionKind::kTree) return {block_text(node)};
  if (node.IsScalar()) return {node.Scalar()};
  if (!node.IsSequence() || option.kind != OptionKind::kList) {
    fail_usage("expected {}", option.kind == OptionKind::kList ? "a list" : "one value");
  }
  std::vector<std::string> texts;
  for (const YAML::Node& item : node) {
    if (!item.IsScalar()) fail_usage("expected a list of plain values");
    texts.push_back(item.Scalar());
  }
  return texts;
}

void apply_entry(const YAML::Node& key_node, const YAML::Node& value, const std::string& source,
                 Options& options, std::set<const Option*>& seen) {
  const std::string where = at_line(source, key_node.Mark());
  if (!key_node.IsScalar()) fail_usage("{}: a key must be a word", where);
  const std::string& key = key_node.Scalar();
  Option* option = options.find_key(key);
  if (option == nullptr) {
    const std::vector<std::string> keys = options.keys();
    const std::string near = closest_match(key, keys);
    fail_usage("{}: unknown key \"{}\"{}", where, key,
               near.empty() ? "" : fmt::format("; did you mean {}?", near));
  }
  if (!seen.insert(option).second) fail_usage("{}: key \"{}\" is there twice", where, key);
  if (value.IsNull()) return;
  with_context(where + ": " + key, [&] { option->set(node_texts(value, *option), Origin::kFile); });
}

void emit_value(YAML::Emitter& out, const Option& option) {
  const std::vector<std::string> values = option.current();
  if (option.kind == OptionKind::kList) {
    out << YAML::Flow << YAML::BeginSeq;
    for (const std::string& value : values) out << value;
    out << YAML::EndSeq;
  } else if (values.empty()) {
    out << YAML::Null;
  } else if (option.kind == OptionKind::kTree) {
    out << load_yaml(values[0], option.key());
  } else {
    out << values[0];
  }
}

}  // namespace

void apply_config(std::string_view yaml, const std::string& source, Options& options) {
  const YAML::Node root = load_yaml(yaml, source);
  if (root.IsNull()) return;
  if (!root.IsMap()) fail_usage("{}: expected lines of \"key: value\"", source);
  std::set<const Option*> seen;
  for (const auto& entry : root) apply_entry(entry.first, entry.second, source, options, seen);
}

void apply_config_file(const std::filesystem::path& path, Options& options) {
  if (!std::filesystem::is_regular_file(path)) {
    fail_usage("{}: no such configuration file", path.string());
  }
  apply_config(read_file(path), path.string(), options);
}

std::string dump_config(const Options& options, std::string_view command) {
  std::string text = fmt::format("# yoloquant {}\n", command);
  std::string section;
  for (const Option& option : options.all()) {
    if (option.section != section) {
      section = option.section;
      text += fmt::format("\n# {}\n", section);
    }
    YAML::Emitter line;
    line << YAML::BeginMap << YAML::Key << option.key() << YAML::Value;
    emit_value(line, option);
    line << YAML::EndMap;
    text += line.c_str();
    if (option.kind != OptionKind::kTree && option.is_set()) {
      text += option.origin == Origin::kFile ? "  # file" : "  # flag";
    }
    text += '\n';
  }
  return text;
}

bool is_config_file(const std::filesystem::path& path) {
  const std::string extension = lower(path.extension().string());
  if (extension != ".yaml" && extension != ".yml") return false;
  std::error_code ignored;
  if (!std::filesystem::is_regular_file(path, ignored)) return false;
  const YAML::Node root = load_yaml(read_file(path), path.string());
  return root.IsMap() && !root["backbone"];
}

}  // namespace yoloquant::cli

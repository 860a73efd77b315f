#include "cli/options.h"

#include <algorithm>
#include <cctype>

#include "base/error.h"
#include "base/text.h"

namespace yoloquant::cli {

namespace {

std::string join(const std::vector<std::string>& parts, std::string_view separator) {
  std::string result;
  for (const std::string& part : parts) {
    if (!result.empty()) result += separator;
    result += part;
  }
  return result;
}

// Commas and blanks separate the values of a list.
std::vector<std::string> split_list(const std::vector<std::string>& texts) {
  std::vector<std::string> parts;
  for (std::string text : texts) {
    std::replace_if(
        text.begin(), text.end(), [](unsigned char c) { return std::isspace(c) != 0; }, ',');
    for (std::string& part : split(text, ',')) {
      if (!part.empty()) parts.push_back(std::move(part));
    }
  }
  return parts;
}

void check_choice(const Option& option, const std::string& text) {
  if (option.choices.empty()) return;
  if (std::find(option.choices.begin(), option.choices.end(), text) != option.choices.end()) return;
  const std::string near = closest_match(text, option.choices);
  fail_usage("\"{}\" is none of {}{}", text, join(option.choices, ", "),
             near.empty() ? "" : fmt::format("; did you mean {}?", near));
}

void check_range(const Option& option, const std::string& text) {
  const double infinity = std::numeric_limits<double>::infinity();
  if (option.low == -infinity && option.high == infinity) return;
  const double value = parse_number(text);
  if (value >= option.low && value <= option.high) return;
  if (option.high == infinity) fail_usage("{} is below {}", text, option.low);
  fail_usage("{} is not in {}..{}", text, option.low, option.high);
}

}  // namespace

Option& Option::one_of(std::vector<std::string> values) {
  choices = std::move(values);
  return *this;
}

Option& Option::between(double lowest, double highest) {
  low = lowest;
  high = highest;
  return *this;
}

Option& Option::at_least(double lowest) {
  low = lowest;
  return *this;
}

Option& Option::is_required() {
  required = true;
  return *this;
}

Option& Option::value_name(std::string text) {
  placeholder = std::move(text);
  return *this;
}

Option& Option::completes(Completion what) {
  completion = what;
  return *this;
}

Option& Option::whole_arguments() {
  split_commas = false;
  return *this;
}

std::string Option::key() const {
  std::string result = name;
  std::replace(result.begin(), result.end(), '-', '_');
  return result;
}

std::string Option::flag() const {
  if (!positional) return "--" + name;
  if (!placeholder.empty()) return placeholder;
  std::string result = name;
  for (char& c : result) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return result;
}

std::string Option::display() const {
  if (positional) return flag() + (kind == OptionKind::kList ? "..." : "");
  if (kind == OptionKind::kFlag) return flag();
  if (!choices.empty() && kind == OptionKind::kScalar) return flag() + " " + join(choices, "|");
  return flag() + " " + placeholder;
}

std::string Option::text() const { return join(current(), ","); }

void Option::set(const std::vector<std::string>& texts, Origin from) {
  std::vector<std::string> values = texts;
  if (kind == OptionKind::kList) {
    if (split_commas) values = split_list(texts);
  } else if (texts.size() > 1) {
    fail_usage("given {} times, takes one value", texts.size());
  }
  for (const std::string& value : values) check_choice(*this, value);
  assign(values);  // first, as it knows the type: "x" is no whole number
  for (const std::string& value : values) check_range(*this, value);
  origin = from;
}

Option& Options::append(std::string name, OptionKind kind, std::string help) {
  Option& option = options_.emplace_back();
  option.name = std::move(name);
  option.kind = kind;
  option.section = section_;
  option.help = std::move(help);
  return option;
}

Option& Options::add_tree(std::string name, std::string* target, std::string help) {
  Option& option = append(std::move(name), OptionKind::kTree, std::move(help));
  option.placeholder = "YAML";
  option.assign = [target](const std::vector<std::string>& texts) { *target = texts.at(0); };
  option.current = [target]() -> std::vector<std::string> {
    if (target->empty()) return {};
    return {*target};
  };
  return with_defaults(option);
}

Option* Options::find_key(std::string_view key) {
  std::string wanted(key);
  std::replace(wanted.begin(), wanted.end(), '-', '_');
  for (Option& option : options_) {
    if (option.key() == wanted) return &option;
  }
  return nullptr;
}

std::vector<std::string> Options::keys() const {
  std::vector<std::string> result;
  for (const Option& option : options_) result.push_back(option.key());
  return result;
}

std::vector<std::string> Options::flags() const {
  std::vector<std::string> result;
  for (const Option& option : options_) {
    if (option.positional) continue;
    result.push_back(option.flag());
    if (option.kind == OptionKind::kFlag) result.push_back("--no-" + option.name);
  }
  return result;
}

void Options::check_required(std::string_view command) const {
  for (const Option& option : options_) {
    if (!option.required) continue;
    const std::vector<std::string> values = option.current();
    if (!values.empty() && !(values.size() == 1 && values[0].empty())) continue;
    fail_usage("{} needs {}: see yoloquant {} --help", command, option.display(), command);
  }
}

}  // namespace yoloquant::cli

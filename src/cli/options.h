#pragma once

#include <deque>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "cli/option_value.h"

// The options of a command, declared once: command line flags, keys of the configuration file,
// --dump-config, --help, shell completion and docs/cli.md all come from the same declaration.
namespace yoloquant::cli {

enum class OptionKind : uint8_t {
  kFlag,    // --name or --no-name
  kScalar,  // --name VALUE
  kList,    // --name A,B or given several times; a positional takes all that follow
  kTree,    // any YAML: nested in a configuration file, YAML text on the command line
};

// What a shell offers for the value.
enum class Completion : uint8_t { kNothing, kFiles, kFolders, kModels };

// Where a value in force came from; later ones win.
enum class Origin : uint8_t { kDefault, kFile, kFlag };

struct Option {
  std::string name;  // "calib-images"; the key in YAML is calib_images
  OptionKind kind = OptionKind::kScalar;
  std::string section;
  std::string help;
  std::string placeholder;  // of the value in help texts: "FILE"
  std::vector<std::string> choices;
  double low = -std::numeric_limits<double>::infinity();
  double high = std::numeric_limits<double>::infinity();
  bool positional = false;
  bool required = false;
  bool split_commas = true;  // of lists
  Completion completion = Completion::kNothing;
  Origin origin = Origin::kDefault;
  std::vector<std::string> default_values;  // as text; one for a scalar, none when unset
  std::function<void(const std::vector<std::string>&)> assign;
  std::function<std::vector<std::string>()> current;

  // For declarations: options.add(...).one_of({...}).required_value().
  Option& one_of(std::vector<std::string> values);
  Option& between(double lowest, double highest);
  Option& at_least(double lowest);
  Option& is_required();
  Option& value_name(std::string text);
  Option& completes(Completion what);
  Option& whole_arguments();  // a list whose values may hold commas

  std::string key() const;      // "calib_images"
  std::string flag() const;     // "--calib-images"; MODEL for positionals
  std::string display() const;  // "--calib-images N"
  bool is_set() const { return origin != Origin::kDefault; }
  // Text of the value in force: "a,b" for lists, "" when there is none.
  std::string text() const;

  // Checks and stores; `texts` is what the user wrote. Throws Error (usage) without saying where.
  void set(const std::vector<std::string>& texts, Origin from);
};

class Options {
 public:
  Options() = default;
  Options(const Options&) = delete;
  Options& operator=(const Options&) = delete;

  // Options added from here on belong to this section of the help.
  void section(std::string title) { section_ = std::move(title); }

  // `*target` holds the default and gets the value. REQUIRES: it outlives this object.
  template <typename T>
  Option& add(std::string name, T* target, std::string help) {
    const bool is_flag = std::is_same_v<T, bool>;
    Option& option =
        append(std::move(name), is_flag ? OptionKind::kFlag : OptionKind::kScalar, std::move(help));
    option.placeholder = OptionValue<T>::kPlaceholder;
    option.assign = [target](const std::vector<std::string>& texts) {
      *target = OptionValue<T>::parse(texts.at(0));
    };
    option.current = [target] { return std::vector<std::string>{OptionValue<T>::print(*target)}; };
    return with_defaults(option);
  }

  // Unset by default; `null` in YAML leaves it so.
  template <typename T>
  Option& add(std::string name, std::optional<T>* target, std::string help) {
    Option& option = append(std::move(name), OptionKind::kScalar, std::move(help));
    option.placeholder = OptionValue<T>::kPlaceholder;
    option.assign = [target](const std::vector<std::string>& texts) {
      *target = OptionValue<T>::parse(texts.at(0));
    };
    option.current = [target]() -> std::vector<std::string> {
      if (!*target) return {};
      return {OptionValue<T>::print(**target)};
    };
    return with_defaults(option);
  }

  template <typename T>
  Option& add(std::string name, std::vector<T>* target, std::string help) {
    Option& option = append(std::move(name), OptionKind::kList, std::move(help));
    option.placeholder = "LIST";
    option.assign = [target](const std::vector<std::string>& texts) {
      std::vector<T> values;
      for (const std::string& text : texts) values.push_back(OptionValue<T>::parse(text));
      *target = std::move(values);
    };
    option.current = [target] {
      std::vector<std::string> texts;
      for (const T& value : *target) texts.push_back(OptionValue<T>::print(value));
      return texts;
    };
    return with_defaults(option);
  }

  // An enumeration (or anything else) with a parser and a name of each value.
  template <typename T, typename Parse, typename Name>
  Option& add_named(std::string name, T* target, Parse parse, Name print, std::string help) {
    Option& option = append(std::move(name), OptionKind::kScalar, std::move(help));
    option.placeholder = "NAME";
    option.assign = [target, parse](const std::vector<std::string>& texts) {
      *target = parse(texts.at(0));
    };
    option.current = [target, print] {
      return std::vector<std::string>{std::string(print(*target))};
    };
    return with_defaults(option);
  }

  // YAML text of any structure; "" when unset.
  Option& add_tree(std::string name, std::string* target, std::string help);

  template <typename T>
  Option& positional(std::string name, T* target, std::string help) {
    Option& option = add(std::move(name), target, std::move(help));
    option.positional = true;
    option.split_commas = false;
    option.placeholder.clear();
    return option;
  }

  const std::deque<Option>& all() const { return options_; }
  std::deque<Option>& all() { return options_; }
  Option* find_key(std::string_view key);  // "calib_images" or "calib-images"; or nullptr
  std::vector<std::string> keys() const;
  std::vector<std::string> flags() const;  // "--calib-images", "--no-dynamic", ...

  // Throws Error (usage) that names what is missing.
  void check_required(std::string_view command) const;

 private:
  Option& append(std::string name, OptionKind kind, std::string help);
  static Option& with_defaults(Option& option) {
    option.default_values = option.current();
    return option;
  }

  std::string section_;
  std::deque<Option> options_;  // references stay valid
};

}  // namespace yoloquant::cli

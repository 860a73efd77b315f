#include "cli/parse.h"

#include <CLI/CLI.hpp>
#include <map>

#include "base/error.h"
#include "base/text.h"
#include "cli/config_file.h"

namespace yoloquant::cli {

namespace {

// What the user wrote, by option.
using Written = std::map<Option*, std::vector<std::string>>;

void add_to_app(CLI::App& app, Option& option, Written& written) {
  if (option.positional) return;  // see take_positionals
  std::vector<std::string>& texts = written[&option];
  if (option.kind == OptionKind::kFlag) {
    app.add_flag_callback("--" + option.name, [&texts] { texts.emplace_back("true"); });
    app.add_flag_callback("--no-" + option.name, [&texts] { texts.emplace_back("false"); });
    return;
  }
  app.add_option("--" + option.name, texts)->allow_extra_args(false);
}

[[noreturn]] void report_unknown_flag(const CommandInfo& info, const Options& options,
                                      const std::string& argument) {
  std::vector<std::string> known = options.flags();
  for (const MetaFlagHelp& flag : meta_flags()) known.push_back(flag.flag);
  const std::string word = argument.substr(0, argument.find('='));
  const std::string near = closest_match(word, known);
  fail_usage("unknown option {}{}; see yoloquant {} --help", word,
             near.empty() ? "" : fmt::format("; did you mean {}?", near), info.name);
}

// Gives what is no flag to the positional arguments, in order. (CLI11's own assignment would take
// the value of a misspelled flag for one.)
void take_positionals(const CommandInfo& info, const std::vector<std::string>& rest,
                      Options& options, Written& written) {
  for (const std::string& argument : rest) {
    if (argument.size() > 1 && argument[0] == '-') report_unknown_flag(info, options, argument);
  }
  auto next = rest.begin();
  for (Option& option : options.all()) {
    if (!option.positional || next == rest.end()) continue;
    const auto end = option.kind == OptionKind::kList ? rest.end() : next + 1;
    written[&option].assign(next, end);
    next = end;
  }
  if (next == rest.end()) return;
  fail_usage("unexpected argument \"{}\"; see yoloquant {} --help", *next, info.name);
}

// Removes the file from the arguments when a configuration stands where the model would.
std::string take_config_positional(const CommandInfo& info, Options& options, Written& written,
                                   const MetaFlags& meta) {
  if (!info.config_positional) return "";
  for (Option& option : options.all()) {
    std::vector<std::string>& texts = written[&option];
    if (!option.positional || texts.empty() || !is_config_file(texts[0])) continue;
    if (!meta.config.empty()) {
      fail_usage("two configuration files: {} and {}", texts[0], meta.config);
    }
    const std::string config = texts[0];
    texts.erase(texts.begin());
    return config;
  }
  return "";
}

}  // namespace

const std::vector<MetaFlagHelp>& meta_flags() {
  static const std::vector<MetaFlagHelp> flags = {
      {"--config", "FILE", "YAML with options, one `key: value` each; flags win over it"},
      {"--dump-config", "", "print the options in force as such a file, and stop"},
      {"--help", "", "print this help, and stop"}};
  return flags;
}

MetaFlags parse_arguments(const CommandInfo& info, const std::vector<std::string>& arguments,
                          Options& options) {
  CLI::App app;
  app.set_help_flag();
  app.allow_extras();
  MetaFlags meta;
  app.add_option("--config", meta.config);
  app.add_flag("--dump-config", meta.dump_config);
  app.add_flag("-h,--help", meta.help);
  Written written;
  for (Option& option : options.all()) add_to_app(app, option, written);
  try {
    app.parse(std::vector<std::string>(arguments.rbegin(), arguments.rend()));
  } catch (const CLI::ParseError& error) {
    fail_usage("{}; see yoloquant {} --help", error.what(), info.name);
  }
  if (meta.help) return meta;
  take_positionals(info, app.remaining(), options, written);

  const std::string config = take_config_positional(info, options, written, meta);
  if (!config.empty()) meta.config = config;
  if (!meta.config.empty()) apply_config_file(meta.config, options);
  for (Option& option : options.all()) {
    const std::vector<std::string>& texts = written[&option];
    if (texts.empty()) continue;
    with_context(option.flag(), [&] { option.set(texts, Origin::kFlag); });
  }
  return meta;
}

}  // namespace yoloquant::cli

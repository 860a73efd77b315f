#include "cli/completion.h"

#include <algorithm>

#include "base/error.h"
#include "base/text.h"
#include "cli/parse.h"
#include "model/definition.h"

namespace yoloquant::cli {

namespace {

using Words = std::vector<std::string>;

constexpr const char* kBash =
    R"sh(# bash completion of yoloquant:  source <(yoloquant completion bash)
_yoloquant() {
  local current="${COMP_WORDS[COMP_CWORD]}" what
  [ "$current" != = ] || current=
  local -a found
  mapfile -t found < <(yoloquant __complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
  [ "${#found[@]}" -gt 0 ] || return 0
  what="${found[-1]}"
  unset 'found[-1]'
  COMPREPLY=("${found[@]}")
  case "$what" in
    :files) compopt -o filenames; mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -f -- "$current") ;;
    :folders) compopt -o filenames; mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -d -- "$current") ;;
  esac
}
complete -F _yoloquant yoloquant
)sh";

constexpr const char* kZsh = R"sh(#compdef yoloquant
# zsh completion of yoloquant:  source <(yoloquant completion zsh)
_yoloquant() {
  local -a found
  found=("${(@f)$(yoloquant __complete "${(@)words[2,CURRENT]}" 2>/dev/null)}")
  local what="${found[-1]}"
  found=("${(@)found[1,-2]}")
  (( ${#found} )) && compadd -- "${found[@]}"
  case "$what" in
    :files) _files ;;
    :folders) _files -/ ;;
  esac
}
compdef _yoloquant yoloquant
)sh";

constexpr const char* kFish =
    R"sh(# fish completion of yoloquant:  yoloquant completion fish | source
function __yoloquant_complete
    set -l current (commandline -ct)
    set -l found (yoloquant __complete (commandline -opc)[2..] "$current" 2>/dev/null)
    set -l what $found[-1]
    for candidate in $found[1..-2]
        echo $candidate
    end
    switch "$what"
        case :files
            __fish_complete_path "$current"
        case :folders
            __fish_complete_directories "$current"
    end
end
complete -c yoloquant -f -a '(__yoloquant_complete)'
)sh";

struct Candidates {
  Words words;
  Completion rest = Completion::kNothing;
};

std::string print(const Candidates& candidates, const std::string& prefix) {
  std::string text;
  for (const std::string& word : candidates.words) {
    if (word.starts_with(prefix)) text += word + '\n';
  }
  switch (candidates.rest) {
    case Completion::kNothing:
      return text + ":nothing\n";
    case Completion::kFolders:
      return text + ":folders\n";
    case Completion::kFiles:
    case Completion::kModels:
      return text + ":files\n";
  }
  return text;
}

Candidates values_of(const Option& option, const std::string& prefix) {
  Candidates result;
  result.rest = option.completion;
  result.words = option.choices;
  if (option.completion == Completion::kModels) result.words = model::builtin_definitions();
  if (option.kind != OptionKind::kList || !option.split_commas) return result;
  // What stands before the last comma stays.
  const size_t comma = prefix.rfind(',');
  if (comma == std::string::npos) return result;
  for (std::string& word : result.words) word.insert(0, prefix, 0, comma + 1);
  return result;
}

Candidates command_words(const std::vector<Command>& commands, const std::string& group) {
  Candidates result;
  for (const Command& command : commands) {
    const Words parts = split(command.info.name, ' ');
    if (group.empty()) {
      if (result.words.empty() || result.words.back() != parts[0]) result.words.push_back(parts[0]);
    } else if (parts.size() == 2 && parts[0] == group) {
      result.words.push_back(parts[1]);
    }
  }
  if (group.empty()) {
    result.words.insert(result.words.end(), {"completion", "help", "--help", "--version"});
  }
  return result;
}

Candidates argument_words(const Command& command, const Words& before, const std::string& prefix) {
  const std::unique_ptr<Invocation> invocation = command.make();
  CommonOptions common;
  Options options;
  invocation->declare(options);
  declare_common(options, &common, command.info.has_json);

  if (!before.empty() && before.back() == "--config") return {{}, Completion::kFiles};
  if (!before.empty() && before.back().starts_with("--")) {
    const Option* option = options.find_key(before.back().substr(2));
    if (option != nullptr && !option->positional && option->kind != OptionKind::kFlag) {
      return values_of(*option, prefix);
    }
  }
  if (prefix.starts_with("-")) {
    Candidates result{options.flags(), Completion::kNothing};
    for (const MetaFlagHelp& flag : meta_flags()) result.words.push_back(flag.flag);
    return result;
  }
  size_t position = 0;  // how many positional arguments there are already
  for (size_t i = 0; i < before.size(); ++i) {
    if (!before[i].starts_with("--")) {
      ++position;
      continue;
    }
    const Option* option = options.find_key(before[i].substr(2));
    const bool takes_value =
        option != nullptr ? option->kind != OptionKind::kFlag : before[i] == "--config";
    if (takes_value) ++i;
  }
  for (const Option& option : options.all()) {
    if (!option.positional) continue;
    if (position == 0 || option.kind == OptionKind::kList) return values_of(option, prefix);
    --position;
  }
  return {options.flags(), Completion::kNothing};
}

}  // namespace

std::string completion_script(const Words& words) {
  if (words.size() == 1 && words[0] == "bash") return kBash;
  if (words.size() == 1 && words[0] == "zsh") return kZsh;
  if (words.size() == 1 && words[0] == "fish") return kFish;
  if (words.size() == 1 && (words[0] == "--help" || words[0] == "-h")) {
    return "usage: yoloquant completion bash|zsh|fish\n\nPrints a script for the shell to read:\n"
           "  source <(yoloquant completion bash)\n";
  }
  fail_usage("completion needs one of bash, zsh, fish");
}

std::string complete(const std::vector<Command>& commands, const Words& words) {
  // bash gives "--head=x" as three words.
  Words typed;
  for (const std::string& word : words) {
    if (word != "=") typed.push_back(word);
  }
  if (!words.empty() && words.back() == "=") typed.emplace_back();
  if (typed.empty()) typed.emplace_back();
  const std::string prefix = typed.back();
  typed.pop_back();

  if (typed.empty()) return print(command_words(commands, ""), prefix);
  if (typed[0] == "completion") return print({{"bash", "zsh", "fish"}, {}}, prefix);
  for (const Command& command : commands) {
    const Words name = split(command.info.name, ' ');
    if (typed.size() < name.size() || !std::equal(name.begin(), name.end(), typed.begin())) {
      continue;
    }
    typed.erase(typed.begin(), typed.begin() + static_cast<Words::difference_type>(name.size()));
    return print(argument_words(command, typed, prefix), prefix);
  }
  if (typed.size() == 1) return print(command_words(commands, typed[0]), prefix);
  return ":nothing\n";
}

}  // namespace yoloquant::cli

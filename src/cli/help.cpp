#include "cli/help.h"

#include <algorithm>

#include "base/text.h"
#include "cli/parse.h"

namespace yoloquant::cli {

namespace {

constexpr size_t kHelpColumn = 30;
constexpr size_t kWidth = 96;

// `text` wrapped to lines of kWidth, the first one starting at `used`, the others at `indent`.
std::string wrapped(const std::string& text, size_t used, size_t indent) {
  std::string result;
  size_t column = used;
  for (const std::string& word : split(text, ' ')) {
    if (column > indent && column + 1 + word.size() > kWidth) {
      result += '\n' + std::string(indent, ' ');
      column = indent;
    } else if (column > indent) {
      result += ' ';
      ++column;
    }
    result += word;
    column += word.size();
  }
  return result;
}

std::string help_row(const std::string& left, const std::string& help) {
  std::string row = "  " + left;
  if (row.size() + 2 > kHelpColumn) {
    row += '\n' + std::string(kHelpColumn, ' ');
  } else {
    row.resize(kHelpColumn, ' ');
  }
  return row + wrapped(help, kHelpColumn, kHelpColumn) + '\n';
}

std::string default_text(const Option& option) {
  std::string text;
  for (const std::string& value : option.default_values) text += (text.empty() ? "" : ",") + value;
  return text;
}

std::string help_with_default(const Option& option) {
  std::string help = option.help;
  if (option.kind == OptionKind::kList && !option.choices.empty()) {
    help += " (of:";
    for (const std::string& choice : option.choices) help += " " + choice;
    help += ")";
  }
  const std::string value = default_text(option);
  if (option.required) return help + " (required)";
  if (value.empty() || option.kind == OptionKind::kFlag) {
    return value == "true" ? help + fmt::format(" (on; --no-{} turns it off)", option.name) : help;
  }
  return help + fmt::format(" [{}]", value);
}

std::string usage_line(const Command& command, const Options& options) {
  std::string line = "yoloquant " + command.info.name;
  for (const Option& option : options.all()) {
    if (option.positional) {
      line += option.required ? " " + option.display() : " [" + option.display() + "]";
    } else if (option.required) {
      line += " " + option.display();
    }
  }
  return line + " [options]";
}

// A command's options with the invocation that holds their values.
struct Declared {
  explicit Declared(const Command& command) : invocation(command.make()) {
    invocation->declare(options);
    declare_common(options, &common, command.info.has_json);
  }
  std::unique_ptr<Invocation> invocation;
  CommonOptions common;
  Options options;
};

std::string group_of(const Command& command) {
  const size_t blank = command.info.name.find(' ');
  return blank == std::string::npos ? "" : command.info.name.substr(0, blank);
}

std::string command_markdown(const Command& command) {
  const Declared declared(command);
  std::string text = fmt::format("\n## {}\n\n{}\n\n```\n{}\n```\n", command.info.name,
                                 command.info.details, usage_line(command, declared.options));
  std::string section = "-";
  for (const Option& option : declared.options.all()) {
    if (option.section == "Common") break;
    if (option.section != section) {
      section = option.section;
      text += fmt::format("\n| {} | |\n|---|---|\n", section);
    }
    std::string left = option.display();
    std::string help = help_with_default(option);
    for (std::string* cell : {&left, &help}) {
      for (size_t at = 0; (at = cell->find('|', at)) != std::string::npos; at += 2) {
        cell->insert(at, "\\");
      }
    }
    text += fmt::format("| `{}` | {} |\n", left, help);
  }
  for (const Example& example : command.info.examples) {
    text += fmt::format("\n{}:\n\n```sh\n{}\n```\n", example.what, example.line);
  }
  return text;
}

std::string common_markdown(const Command& any) {
  std::string text = "\n| Options of every command | |\n|---|---|\n";
  for (const MetaFlagHelp& flag : meta_flags()) {
    const std::string value = flag.placeholder.empty() ? "" : " " + flag.placeholder;
    text += fmt::format("| `{}{}` | {} |\n", flag.flag, value, flag.help);
  }
  CommonOptions common;
  Options options;
  declare_common(options, &common, any.info.has_json);
  for (const Option& option : options.all()) {
    std::string left = option.display();
    for (size_t at = 0; (at = left.find('|', at)) != std::string::npos; at += 2) {
      left.insert(at, "\\");
    }
    text += fmt::format("| `{}` | {} |\n", left, help_with_default(option));
  }
  return text;
}

}  // namespace

std::string command_help(const Command& command) {
  const Declared declared(command);
  std::string text = fmt::format("{}\n\nusage: {}\n", wrapped(command.info.details, 0, 0),
                                 usage_line(command, declared.options));
  std::string section = "-";
  for (const Option& option : declared.options.all()) {
    if (option.section != section) {
      section = option.section;
      text += fmt::format("\n{}:\n", section);
    }
    text += help_row(option.display(), help_with_default(option));
  }
  for (const MetaFlagHelp& flag : meta_flags()) {
    const std::string value = flag.placeholder.empty() ? "" : " " + flag.placeholder;
    text += help_row(flag.flag + value, flag.help);
  }
  for (const Example& example : command.info.examples) {
    text += fmt::format("\n{}:\n  {}\n", example.what, example.line);
  }
  return text;
}

std::string overview(const std::vector<Command>& commands) {
  std::string text =
      "Turns YOLOv10 checkpoints into accurate quantized ONNX models.\n\n"
      "usage: yoloquant COMMAND [arguments]\n\nCommands:\n";
  for (const Command& command : commands) {
    text += help_row(command.info.name, command.info.summary);
  }
  return text +
         "\nyoloquant COMMAND --help describes a command; --version prints the version.\n\n"
         "All at once, on one checkpoint:\n"
         "  yoloquant run yolov10n.pt --coco coco --schemes w8a16,w8a8 --out tmp/first\n";
}

std::string group_help(const std::string& group, const std::vector<Command>& commands) {
  std::string text = fmt::format("usage: yoloquant {} COMMAND [arguments]\n\nCommands:\n", group);
  for (const Command& command : commands) {
    if (group_of(command) == group) text += help_row(command.info.name, command.info.summary);
  }
  return text + fmt::format("\nyoloquant {} COMMAND --help describes a command.\n", group);
}

std::string markdown_reference(const std::vector<Command>& commands) {
  std::string text =
      "# Command line\n\n"
      "<!-- Made by `yoloquant help --markdown`: change the declarations in src/cli, not this "
      "file. "
      "-->\n\n"
      "Results go to stdout (with `--json` as JSON), messages and progress to stderr. Exit status: "
      "0 done,\n1 the job failed, 2 the request made no sense; both with one line on stderr.\n\n"
      "MODEL is a checkpoint (`.pt` of Ultralytics, a dict checkpoint, safetensors), an `.onnx` "
      "file, or a\ndefinition: a YAML file or a built-in name such as `yolov10n.yaml`.\n\n"
      "An option's value is its default, or what the file of `--config` says, or what the flag "
      "says; later\nones win. The file's keys are the options' names with `_` for `-`, positional "
      "arguments included\n(`model: yolov10n.pt`). Paths are relative to the working folder. "
      "`--dump-config` prints the file that\nwould give the options in force. Every flag `--name` "
      "that takes no value has a `--no-name`.\n\n"
      "`source <(yoloquant completion bash)` completes commands, options and values; `zsh` and "
      "`fish` work\nalike.\n";
  text += common_markdown(commands.front());
  for (const Command& command : commands) text += command_markdown(command);
  return text;
}

}  // namespace yoloquant::cli

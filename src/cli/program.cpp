#include "cli/program.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <new>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/text.h"
#include "cli/completion.h"
#include "cli/config_file.h"
#include "cli/help.h"
#include "cli/parse.h"

namespace yoloquant::cli {

namespace {

using Words = std::vector<std::string>;

void print(const std::string& text) { std::fwrite(text.data(), 1, text.size(), stdout); }

std::filesystem::path own_path() { return std::filesystem::read_symlink("/proc/self/exe"); }

// ../libexec/yoloquant/NAME as seen from this program.
std::filesystem::path engine_path(Program program) {
  const std::filesystem::path self = own_path();
  const char* name =
      program == Program::kImageEngine ? "yoloquant-image-engine" : "yoloquant-engine";
  return self.parent_path().parent_path() / "libexec" / "yoloquant" / name;
}

[[noreturn]] void become(Program program, char** argv) {
  const std::string path = engine_path(program).string();
  // Threads that wait by spinning for long take the cores from the libraries that have work; those
  // that never spin are woken by the kernel for every operator, which halves the speed of training
  // on two cores. Read when libgomp is loaded, so it must be set before; a user's own choice wins.
  if (std::getenv("OMP_WAIT_POLICY") == nullptr) setenv("GOMP_SPINCOUNT", "10000", /*overwrite=*/0);
  execv(path.c_str(), argv);
  fail("cannot start {}: {}; build or install yoloquant again", path, std::strerror(errno));
}

Words command_line(char** argv) {
  Words words{own_path().string()};
  for (char** word = argv + 1; *word != nullptr; ++word) words.emplace_back(*word);
  return words;
}

struct Chosen {
  const Command* command = nullptr;
  Words arguments;
};

bool is_group(const std::vector<Command>& commands, const std::string& word) {
  return std::any_of(commands.begin(), commands.end(), [&](const Command& command) {
    return command.info.name.starts_with(word + " ");
  });
}

[[noreturn]] void report_unknown(const std::string& word, const Words& known,
                                 const std::string& help) {
  const std::string near = closest_match(word, known);
  fail_usage("unknown command \"{}\"{}; see {} --help", word,
             near.empty() ? "" : fmt::format("; did you mean {}?", near), help);
}

Chosen choose(const std::vector<Command>& commands, const Words& words) {
  const bool group = is_group(commands, words[0]);
  if (group && words.size() < 2) {
    fail_usage("{} needs a command; see yoloquant {} --help", words[0], words[0]);
  }
  const std::string name = group ? words[0] + " " + words[1] : words[0];
  for (const Command& command : commands) {
    if (command.info.name != name) continue;
    return {&command, Words(words.begin() + (group ? 2 : 1), words.end())};
  }
  Words known;
  for (const Command& command : commands) {
    if (!group) known.push_back(split(command.info.name, ' ')[0]);
    if (group && command.info.name.starts_with(words[0] + " ")) {
      known.push_back(command.info.name.substr(words[0].size() + 1));
    }
  }
  if (!group) known.insert(known.end(), {"completion", "help"});
  report_unknown(group ? words[1] : words[0], known,
                 group ? "yoloquant " + words[0] : std::string("yoloquant"));
}

int run_command(const Command& command, const Words& arguments, char** argv) {
  const std::unique_ptr<Invocation> invocation = command.make();
  CommonOptions common;
  Options options;
  invocation->declare(options);
  declare_common(options, &common, command.info.has_json);
  const MetaFlags meta = parse_arguments(command.info, arguments, options);
  if (meta.help) {
    print(command_help(command));
    return 0;
  }
  if (meta.dump_config) {
    print(dump_config(options, command.info.name));
    return 0;
  }
  options.check_required(command.info.name);
  if (!invocation->available()) become(command.info.program, argv);
  install_interrupt_handlers();
  Context context(common);
  context.set_options_yaml(dump_config(options, command.info.name));
  context.set_command_line(command_line(argv));
  return invocation->run(context);
}

int help_command(const std::vector<Command>& commands, const Words& words) {
  if (words.size() == 1) {
    print(overview(commands));
  } else if (words[1] == "--markdown") {
    print(markdown_reference(commands));
  } else if (words.size() == 2 && is_group(commands, words[1])) {
    print(group_help(words[1], commands));
  } else {
    print(command_help(*choose(commands, Words(words.begin() + 1, words.end())).command));
  }
  return 0;
}

int dispatch(const Words& words, const Runners& runners, char** argv) {
  if (words.empty()) fail_usage("which command? see yoloquant --help");
  const std::string& first = words[0];
  if (first == "--version") {
    print("yoloquant " YOLOQUANT_VERSION "\n");
    return 0;
  }
  const std::vector<Command> commands = command_table(runners);
  if (first == "help") return help_command(commands, words);
  if (first == "--help" || first == "-h") return help_command(commands, {"help"});
  if (first == "completion") {
    print(completion_script(Words(words.begin() + 1, words.end())));
    return 0;
  }
  if (first == kCompleteCommand) {
    print(complete(commands, Words(words.begin() + 1, words.end())));
    return 0;
  }
  if (first.starts_with("-")) {
    fail_usage("unknown option {}; options come after the command: see yoloquant --help", first);
  }
  if (words.size() == 2 && is_group(commands, first) &&
      (words[1] == "--help" || words[1] == "-h")) {
    return help_command(commands, {"help", first});
  }
  const Chosen chosen = choose(commands, words);
  return run_command(*chosen.command, chosen.arguments, argv);
}

// Messages of other libraries may go on for many lines, stack included; the first one says it.
std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

std::string one_line(std::string text) {
  std::replace(text.begin(), text.end(), '\n', ' ');
  return text;
}

int report(const std::string& message, int status) {
  std::fflush(stdout);
  fmt::print(stderr, "yoloquant: {}\n", message);
  return status;
}

}  // namespace

int run_program(int argc, char** argv, const Runners& runners) {
  try {
    const int status = dispatch(Words(argv + std::min(argc, 1), argv + argc), runners, argv);
    if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) {
      return report(fmt::format("cannot write to stdout: {}", std::strerror(errno)), 1);
    }
    return status;
  } catch (const Interrupted& interruption) {
    return report(interruption.what(), interruption.shell_status());
  } catch (const Error& error) {
    return report(one_line(error.what()), error.exit_status());
  } catch (const std::bad_alloc&) {
    return report("out of memory", 1);
  } catch (const std::exception& error) {
    return report(first_line(error.what()), 1);
  } catch (...) {
    return report("unknown failure", 1);
  }
}

}  // namespace yoloquant::cli

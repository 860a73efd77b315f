#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "cli/command.h"

namespace yoloquant::cli {

// Flags that are no options of the job: they exist on the command line alone.
struct MetaFlags {
  bool help = false;
  bool dump_config = false;
  std::string config;  // configuration file; "" without
};

// Reads a command's arguments into `options`: first the configuration file (--config, or the first
// argument where the command allows that), then the flags. Throws Error (usage) for unknown flags,
// with the closest known one, and for values that do not fit. With --help nothing is read.
MetaFlags parse_arguments(const CommandInfo& info, const std::vector<std::string>& arguments,
                          Options& options);

// Name, value ("" for flags) and help of the meta flags.
struct MetaFlagHelp {
  std::string flag;
  std::string placeholder;
  std::string help;
};
const std::vector<MetaFlagHelp>& meta_flags();

}  // namespace yoloquant::cli

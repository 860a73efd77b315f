#pragma once

#include <string>
#include <vector>

#include "cli/command.h"

// Help texts, all made from the declarations.
namespace yoloquant::cli {

// `yoloquant COMMAND --help`.
std::string command_help(const Command& command);

// `yoloquant --help`, and of a group such as `onnx`.
std::string overview(const std::vector<Command>& commands);
std::string group_help(const std::string& group, const std::vector<Command>& commands);

// docs/cli.md.
std::string markdown_reference(const std::vector<Command>& commands);

}  // namespace yoloquant::cli

#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "cli/options.h"

namespace yoloquant::cli {

// Sets options from YAML text with one key per option. Keys that the command does not have and
// values that do not fit throw Error (usage) with `source`, the line and the closest key; `null`
// leaves an option as it is.
void apply_config(std::string_view yaml, const std::string& source, Options& options);
void apply_config_file(const std::filesystem::path& path, Options& options);

// The options in force as YAML that apply_config takes; each value that is not the default is
// marked with where it came from.
std::string dump_config(const Options& options, std::string_view command);

// Whether a file holds options for a command, rather than a model definition (which has a
// `backbone`): a YAML mapping with the extension .yaml or .yml. False when there is no such file.
bool is_config_file(const std::filesystem::path& path);

}  // namespace yoloquant::cli

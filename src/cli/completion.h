#pragma once

#include <string>
#include <vector>

#include "cli/command.h"

namespace yoloquant::cli {

// Hidden command that the shells' scripts call with the words typed so far.
inline constexpr const char* kCompleteCommand = "__complete";

// What `yoloquant completion bash|zsh|fish` prints. `words` is what follows "completion". Throws
// Error (usage) for any other shell.
std::string completion_script(const std::vector<std::string>& words);

// Candidates for the last of `words` (which may be empty), one a line, then a line that says what
// else the shell should offer: ":files", ":folders" or ":nothing".
std::string complete(const std::vector<Command>& commands, const std::vector<std::string>& words);

}  // namespace yoloquant::cli

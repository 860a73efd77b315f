#pragma once

#include <filesystem>

#include "cli/command.h"
#include "pipeline/run.h"

namespace yoloquant::cli {

// Prints the result of a run, and keeps the options in its folder. Returns the exit status.
int show(const pipeline::RunResult& result, Context& context);

// A run that was stopped before its journal was written has nothing to go on with: it starts.
bool can_resume(const std::filesystem::path& root, bool wanted, Context& context);

}  // namespace yoloquant::cli

#pragma once

#include "cli/arguments.h"
#include "cli/command.h"
#include "pipeline/load_model.h"

namespace yoloquant::cli {

// The model that the arguments name, made as they say. Its warnings go to the user.
pipeline::LoadedModel load(const ModelArguments& arguments, Context& context);

}  // namespace yoloquant::cli

#pragma once

#include <filesystem>
#include <functional>
#include <string>

#include "checkpoint/checkpoint.h"
#include "program.h"

// A training of the tiny example: 4 epochs of 3 batches, a step every second batch.
namespace yoloquant::test {

std::string train_arguments(const std::string& out);

// Starts `yoloquant ARGUMENTS` in `folder`, calls `action` with its process when the run in
// folder/run has recorded an epoch, and returns its status as waitpid gives it. It writes to
// folder/out and folder/err.
int disturbed_training(const std::string& arguments, const std::filesystem::path& folder,
                       const std::function<void(int)>& action);

// RUN/weights/last.pt with both entries.
checkpoint::Checkpoint last_of(const std::filesystem::path& run);

}  // namespace yoloquant::test

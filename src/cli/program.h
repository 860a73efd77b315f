#pragma once

#include <string>
#include <vector>

#include "cli/command.h"

namespace yoloquant::cli {

struct EvalArguments;
struct PredictArguments;
struct DiffArguments;
struct QatRunArguments;
struct ShapesArguments;
struct QuantizeArguments;
struct SensitivityArguments;
struct RunArguments;
struct DemoArguments;
struct TrainArguments;

// The commands that need libraries which take long to load. A program has those that are not null;
// it replaces itself by the one in libexec/yoloquant/ that has the others (see Program).
struct Runners {
  Runner<EvalArguments> eval = nullptr;
  Runner<PredictArguments> predict = nullptr;
  Runner<DiffArguments> onnx_diff = nullptr;
  Runner<ShapesArguments> shapes = nullptr;
  Runner<QatRunArguments> qat = nullptr;
  Runner<QuantizeArguments> quantize = nullptr;
  Runner<SensitivityArguments> sensitivity = nullptr;
  Runner<RunArguments> run = nullptr;
  Runner<DemoArguments> demo = nullptr;
  Runner<TrainArguments> train = nullptr;
};

// Linking these functions brings OpenCV, and OpenCV and LibTorch.
Runners image_runners();
Runners all_runners();

// Every command, in the order of the help.
std::vector<Command> command_table(const Runners& runners);

// What main does: returns the exit status, 0 done, 1 the job failed, 2 wrong usage. Nothing is
// thrown; errors become one line on stderr.
int run_program(int argc, char** argv, const Runners& runners);

}  // namespace yoloquant::cli

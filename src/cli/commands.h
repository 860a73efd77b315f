#pragma once

#include "cli/command.h"
#include "cli/program.h"

// One function a command, for the table in commands.cpp.
namespace yoloquant::cli {

Command info_command();
Command export_command();
Command quantize_command(Runner<QuantizeArguments> runner);
Command sensitivity_command(Runner<SensitivityArguments> runner);
Command eval_command(Runner<EvalArguments> runner);
Command bench_command();
Command predict_command(Runner<PredictArguments> runner);
Command run_command(Runner<RunArguments> runner);
Command qat_command(Runner<QatRunArguments> runner);
Command sweep_command();
Command calib_command();
Command shapes_command(Runner<ShapesArguments> runner);
Command checkpoint_convert_command();
Command checkpoint_show_command();
Command onnx_check_command();
Command onnx_clean_command();
Command onnx_diff_command(Runner<DiffArguments> runner);
Command demo_command(Runner<DemoArguments> runner);
Command train_command(Runner<TrainArguments> runner);

}  // namespace yoloquant::cli

#include "cli/commands.h"

namespace yoloquant::cli {

std::vector<Command> command_table(const Runners& runners) {
  return {info_command(),
          export_command(),
          quantize_command(runners.quantize),
          sensitivity_command(runners.sensitivity),
          eval_command(runners.eval),
          bench_command(),
          predict_command(runners.predict),
          run_command(runners.run),
          train_command(runners.train),
          qat_command(runners.qat),
          sweep_command(),
          calib_command(),
          shapes_command(runners.shapes),
          checkpoint_convert_command(),
          checkpoint_show_command(),
          onnx_check_command(),
          onnx_clean_command(),
          onnx_diff_command(runners.onnx_diff),
          demo_command(runners.demo)};
}

}  // namespace yoloquant::cli

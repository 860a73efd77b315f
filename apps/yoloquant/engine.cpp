#include "base/memory.h"
#include "cli/program.h"

int main(int argc, char** argv) {
  yoloquant::keep_freed_memory();
  return yoloquant::cli::run_program(argc, argv, yoloquant::cli::all_runners());
}

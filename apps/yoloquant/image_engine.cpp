#include "cli/program.h"

int main(int argc, char** argv) {
  return yoloquant::cli::run_program(argc, argv, yoloquant::cli::image_runners());
}

#include "cli/program.h"

// Commands that need OpenCV or LibTorch are left to the engines.
int main(int argc, char** argv) { return yoloquant::cli::run_program(argc, argv, {}); }

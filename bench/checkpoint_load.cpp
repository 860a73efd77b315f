// Reads one checkpoint and prints what is in it: the program that bench/checkpoint_load.py times as
// a cold process against torch.load.
#include <cstdio>
#include <exception>

#include "checkpoint/checkpoint.h"

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: %s CHECKPOINT\n", argv[0]);
    return 2;
  }
  try {
    const yoloquant::checkpoint::Checkpoint checkpoint = yoloquant::checkpoint::read(argv[1]);
    size_t bytes = 0;
    for (const auto& [name, tensor] : checkpoint.state) bytes += tensor.bytes().size();
    std::printf("%zu tensors, %zu bytes\n", checkpoint.state.size(), bytes);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return 1;
  }
  return 0;
}

// A main for the fuzz targets where libFuzzer is not at hand:
//   TARGET [--runs N] [--seed S] FILE...
// feeds each file as it is and then N random mutations of it (0: only the files). A crash or a
// sanitizer's report ends the process; its input is left in crash-input.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/random.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

using Bytes = std::vector<uint8_t>;

Bytes read_bytes(const std::string& path) {
  const std::string text = yoloquant::read_file(path);
  return {text.begin(), text.end()};
}

// One change of the kinds that break parsers: a bit, a byte, a length field, a cut, a repetition.
void mutate(Bytes& bytes, yoloquant::Random& random) {
  if (bytes.empty()) return;
  static constexpr uint8_t kEdges[] = {0x00, 0x01, 0x7F, 0x80, 0xFE, 0xFF};
  const size_t at = random.below(bytes.size());
  switch (random.below(6)) {
    case 0:
      bytes[at] ^= static_cast<uint8_t>(1U << random.below(8));
      break;
    case 1:
      bytes[at] = static_cast<uint8_t>(random.next());
      break;
    case 2:
      std::fill_n(bytes.begin() + static_cast<std::ptrdiff_t>(at),
                  std::min<size_t>(1 + random.below(8), bytes.size() - at),
                  kEdges[random.below(std::size(kEdges))]);
      break;
    case 3:
      bytes.resize(at);
      break;
    case 4: {
      const size_t count = std::min<size_t>(1 + random.below(64), bytes.size() - at);
      const Bytes piece(bytes.begin() + static_cast<std::ptrdiff_t>(at),
                        bytes.begin() + static_cast<std::ptrdiff_t>(at + count));
      bytes.insert(bytes.begin() + static_cast<std::ptrdiff_t>(random.below(bytes.size())),
                   piece.begin(), piece.end());
      break;
    }
    default:
      bytes.erase(bytes.begin() + static_cast<std::ptrdiff_t>(at));
  }
}

void run(const Bytes& bytes) {
  // Kept on disk while it runs, so that a crash leaves its input behind.
  std::remove("crash-input");  // a new file is quicker than an old one cut to nothing
  FILE* file = std::fopen("crash-input", "wb");
  if (file != nullptr) {
    std::fwrite(bytes.data(), 1, bytes.size(), file);
    std::fclose(file);
  }
  LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
}

int run_all(const std::vector<std::string>& files, uint64_t runs, uint64_t seed) {
  yoloquant::Random random(seed);
  uint64_t count = 0;
  for (const std::string& path : files) {
    const Bytes original = read_bytes(path);
    run(original);
    ++count;
    for (uint64_t i = 0; i < runs; ++i, ++count) {
      Bytes mutated = original;
      for (uint64_t change = random.below(4) + 1; change > 0; --change) mutate(mutated, random);
      run(mutated);
    }
  }
  std::remove("crash-input");
  std::printf("%llu inputs, no crash\n", static_cast<unsigned long long>(count));
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<std::string> files;
  uint64_t runs = 0;
  uint64_t seed = 1;
  try {
    for (int i = 1; i < argc; ++i) {
      const std::string argument = argv[i];
      if (argument == "--runs" && i + 1 < argc) {
        runs = std::stoull(argv[++i]);
      } else if (argument == "--seed" && i + 1 < argc) {
        seed = std::stoull(argv[++i]);
      } else {
        files.push_back(argument);
      }
    }
    if (files.empty()) {
      std::fprintf(stderr, "usage: %s [--runs N] [--seed S] FILE...\n", argv[0]);
      return 2;
    }
    return run_all(files, runs, seed);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return 1;
  }
}

#pragma once

#include <filesystem>
#include <string>

#include "base/file.h"
#include "checkpoint/torch_archive.h"
#include "checkpoint/value.h"

namespace yoloquant::checkpoint::test {

// A small file of torch.save's layout in memory.
inline std::string small_archive(const std::filesystem::path& folder,
                                 ZipWriter::Zip64 zip64 = ZipWriter::Zip64::kWhenNeeded) {
  const Tensor weight = Tensor::from<float>({2, 2}, std::vector<float>{1, 2, 3, 4});
  const Value state = Value::ordered_dict(
      {{"model.0.weight", weight}, {"model.0.count", Tensor(DType::kInt64, {})}});
  const Value root = Value::dict({{"epoch", 3},
                                  {"model_state_dict", state},
                                  {"ema_state_dict", Value()},
                                  {"names", Value::dict({{0, "a"}})},
                                  {"stride", Value::list({8, 16, 32})}});
  write_torch_file(folder / "small.pt", root, zip64);
  return read_file(folder / "small.pt");
}

}  // namespace yoloquant::checkpoint::test

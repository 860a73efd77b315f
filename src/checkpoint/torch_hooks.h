#pragma once

#include <memory>
#include <string>
#include <unordered_map>

#include "checkpoint/pickle_reader.h"
#include "checkpoint/zip_archive.h"

namespace yoloquant::checkpoint {

// Turns torch's persistent ids into storages of an archive, and the calls that rebuild tensors into
// tensors. Follows torch/_utils.py and torch/serialization.py.
class TorchHooks : public PickleHooks {
 public:
  // `prefix` is the name of the archive with its slash; `owner` keeps the archive's bytes alive.
  TorchHooks(const ZipArchive& archive, std::string prefix, std::shared_ptr<const void> owner,
             bool verify_checksums, size_t max_tensor_bytes)
      : archive_(archive),
        prefix_(std::move(prefix)),
        owner_(std::move(owner)),
        verify_checksums_(verify_checksums),
        tensor_bytes_left_(max_tensor_bytes) {}

  Value persistent_load(const Value& id) override;
  std::optional<Value> call(const Global& function, const Items& args) override;

 private:
  Value make_tensor(const Items& args, std::optional<DType> dtype);
  std::optional<Value> call_utils(const std::string& name, const Items& args);

  const ZipArchive& archive_;
  std::string prefix_;
  std::shared_ptr<const void> owner_;
  bool verify_checksums_;
  // A few bytes of pickle can declare a huge view of a small storage, any number of times.
  size_t tensor_bytes_left_;
  std::unordered_map<std::string, std::shared_ptr<const Storage>> storages_;
};

}  // namespace yoloquant::checkpoint

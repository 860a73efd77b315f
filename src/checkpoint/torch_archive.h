#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "base/file.h"
#include "checkpoint/pickle_reader.h"
#include "checkpoint/value.h"
#include "checkpoint/zip_writer.h"

// Files of torch.save: a zip archive with a pickle of everything and one record per tensor storage.
// Format: torch/serialization.py (_save, _load); records are archive/data.pkl, archive/data/<key>,
// archive/byteorder and archive/version, where the name of the archive is free.
namespace yoloquant::checkpoint {

struct TorchReadOptions {
  PickleLimits limits;
  // Check the CRC-32 of each record that is used.
  bool verify_checksums = true;
};

// What the file holds, as plain values and inert records. Tensors are windows of the mapped file,
// which stays mapped while any of them lives; load_tensors() reads them into memory. Throws Error
// ("data.pkl, byte 412: ...") for malformed files and for those of torch before 1.6.
Value read_torch_file(const std::filesystem::path& path, const TorchReadOptions& options = {});
// The same for a file in memory; `owner` keeps `bytes` alive.
Value read_torch_bytes(std::span<const std::byte> bytes, std::shared_ptr<const void> owner,
                       const TorchReadOptions& options = {});

// Writes `value` so that torch.load(weights_only=True) reads it: plain values and tensors only.
// Throws Error naming the key of anything else. See
// write_pickle_with_tensors for what is shared.
void write_torch_file(const std::filesystem::path& path, const Value& value,
                      ZipWriter::Zip64 zip64 = ZipWriter::Zip64::kWhenNeeded);

}  // namespace yoloquant::checkpoint

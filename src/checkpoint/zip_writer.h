#pragma once

#include <cstddef>
#include <cstdint>
#include <ostream>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace yoloquant::checkpoint {

// Writes a zip archive of stored entries, each with its contents at a multiple of 64 bytes as
// torch.save does, so that they can be mapped. ZIP64 where sizes or counts need it.
class ZipWriter {
 public:
  enum class Zip64 { kWhenNeeded, kAlways };

  // REQUIRES: `stream` is empty and outlives the writer.
  explicit ZipWriter(std::ostream& stream, Zip64 zip64 = Zip64::kWhenNeeded)
      : stream_(stream), always_zip64_(zip64 == Zip64::kAlways) {}

  void add(std::string_view name, std::span<const std::byte> contents);
  void add(std::string_view name, std::string_view contents);
  // Writes the directory. Nothing can be added afterwards.
  void finish();

 private:
  struct Entry {
    std::string name;
    uint32_t crc;
    uint64_t size;
    uint64_t offset;
  };
  void write(std::string_view bytes);
  void write_end_records(uint64_t directory_offset);

  std::ostream& stream_;
  bool always_zip64_;
  uint64_t offset_ = 0;
  std::vector<Entry> entries_;
};

}  // namespace yoloquant::checkpoint

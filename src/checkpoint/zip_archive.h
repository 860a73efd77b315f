#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace yoloquant::checkpoint {

// Reads a zip archive (also ZIP64) of stored entries, as torch.save writes it, in place: entries
// are windows of the given bytes, which must outlive the archive. Format: PKWARE APPNOTE 6.3.
class ZipArchive {
 public:
  struct Entry {
    std::string_view name;
    uint16_t method = 0;
    uint32_t crc = 0;
    uint64_t size = 0;         // bytes of contents
    uint64_t stored_size = 0;  // bytes in the archive
    uint64_t header_offset = 0;
  };

  // Throws Error when the directory of the archive is missing or damaged.
  explicit ZipArchive(std::span<const std::byte> bytes);

  const std::vector<Entry>& entries() const { return entries_; }
  // nullptr when there is none.
  const Entry* find(std::string_view name) const;

  // The contents. Throws Error for a compressed or encrypted entry, one that reaches outside of
  // the archive, or (with `verify`) one that does not match its checksum.
  std::span<const std::byte> contents(const Entry& entry, bool verify = true) const;

 private:
  struct Directory {
    uint64_t offset = 0;
    uint64_t size = 0;
    uint64_t count = 0;
  };
  Directory find_directory() const;
  Directory read_zip64_directory(size_t end_record) const;
  void read_entries(const Directory& directory);

  std::span<const std::byte> bytes_;
  std::vector<Entry> entries_;
  std::unordered_map<std::string_view, size_t> by_name_;
};

}  // namespace yoloquant::checkpoint

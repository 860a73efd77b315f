#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <ostream>
#include <span>
#include <string>
#include <string_view>

namespace yoloquant {

// A file mapped read-only into memory for the life of the object. Throws Error when it cannot be
// opened or is not a regular file.
class MappedFile {
 public:
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const std::byte> bytes() const { return {data_, size_}; }

 private:
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
};

// The whole file. Throws Error when it cannot be read.
std::string read_file(const std::filesystem::path& path);

// A file under construction: written beside its final name and renamed by commit(), so that readers
// see the old file or the whole new one. Without commit() nothing is left behind.
class AtomicFile {
 public:
  explicit AtomicFile(std::filesystem::path path);  // makes missing parent folders
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  // The name to write to; same folder and extension as the final one.
  const std::filesystem::path& temporary_path() const { return temporary_; }

  // Flushes the file to disk and renames it. Throws Error when either fails.
  void commit();

 private:
  std::filesystem::path path_;
  std::filesystem::path temporary_;
  bool committed_ = false;
};

// Writes `contents`, or what `body` streams, to `path` through an AtomicFile.
void write_file(const std::filesystem::path& path, std::string_view contents);
void write_file(const std::filesystem::path& path, const std::function<void(std::ostream&)>& body);

// Lower-case hex SHA-256 of a file or of bytes.
std::string sha256_of_file(const std::filesystem::path& path);
std::string sha256(std::string_view bytes);

}  // namespace yoloquant

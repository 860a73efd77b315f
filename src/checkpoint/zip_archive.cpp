#include "checkpoint/zip_archive.h"

#include <algorithm>

#include "base/error.h"
#include "checkpoint/byte_reader.h"
#include "checkpoint/crc32.h"
#include "checkpoint/zip_format.h"

namespace yoloquant::checkpoint {

namespace {

// Fills in the sizes and the offset that are too large for their 32-bit fields.
void read_zip64_extra(std::span<const std::byte> extra, ZipArchive::Entry& entry) {
  ByteReader reader(extra);
  while (reader.left() >= 4) {
    const uint16_t id = reader.u16();
    const uint16_t size = reader.u16();
    ByteReader field(reader.take(size));
    if (id != kZip64ExtraId) continue;
    if (entry.size == kMax32) entry.size = field.u64();
    if (entry.stored_size == kMax32) entry.stored_size = field.u64();
    if (entry.header_offset == kMax32) entry.header_offset = field.u64();
    return;
  }
}

}  // namespace

ZipArchive::ZipArchive(std::span<const std::byte> bytes) : bytes_(bytes) {
  read_entries(find_directory());
}

ZipArchive::Directory ZipArchive::find_directory() const {
  if (bytes_.size() < kEndRecordSize) fail("{} bytes are too few for a zip archive", bytes_.size());
  const size_t last = bytes_.size() - kEndRecordSize;
  const size_t first = last - std::min<size_t>(last, kMaxCommentSize);
  for (size_t at = last + 1; at-- > first;) {
    ByteReader reader(bytes_, at);
    if (reader.u32() != kEndRecordSignature) continue;
    const uint16_t disk = reader.u16();
    const uint16_t directory_disk = reader.u16();
    reader.skip(2);
    Directory directory;
    directory.count = reader.u16();
    directory.size = reader.u32();
    directory.offset = reader.u32();
    if (at + kEndRecordSize + reader.u16() > bytes_.size()) continue;  // not the real one
    if (directory.count == kMax16 || directory.size == kMax32 || directory.offset == kMax32) {
      return read_zip64_directory(at);
    }
    if (disk != 0 || directory_disk != 0) fail("the zip archive is one part of several");
    return directory;
  }
  fail("the zip archive has no directory at its end: the file is cut off or damaged");
}

ZipArchive::Directory ZipArchive::read_zip64_directory(size_t end_record) const {
  if (end_record < kZip64LocatorSize) fail("the zip archive lacks its ZIP64 locator");
  ByteReader locator(bytes_, end_record - kZip64LocatorSize);
  if (locator.u32() != kZip64LocatorSignature) fail("the zip archive lacks its ZIP64 locator");
  locator.skip(4);
  const uint64_t offset = locator.u64();
  if (offset > bytes_.size()) fail("the ZIP64 record lies outside of the file, at byte {}", offset);
  ByteReader reader(bytes_, static_cast<size_t>(offset));
  if (reader.u32() != kZip64EndSignature) fail("byte {}: no ZIP64 record there", offset);
  reader.skip(28);  // size, versions, disks, entries on this disk
  Directory directory;
  directory.count = reader.u64();
  directory.size = reader.u64();
  directory.offset = reader.u64();
  return directory;
}

void ZipArchive::read_entries(const Directory& directory) {
  if (directory.offset > bytes_.size() || directory.size > bytes_.size() - directory.offset) {
    fail("the zip directory lies outside of the file: it is cut off or damaged");
  }
  if (directory.count > directory.size / kCentralHeaderSize) {
    fail("the zip directory names {} entries in {} bytes", directory.count, directory.size);
  }
  ByteReader reader(bytes_.first(static_cast<size_t>(directory.offset + directory.size)),
                    static_cast<size_t>(directory.offset));
  entries_.reserve(static_cast<size_t>(directory.count));
  by_name_.reserve(static_cast<size_t>(directory.count));
  for (uint64_t i = 0; i < directory.count; ++i) {
    const size_t at = reader.position();
    if (reader.u32() != kCentralSignature) fail("byte {}: damaged zip directory", at);
    reader.skip(4);
    const uint16_t flags = reader.u16();
    Entry entry;
    entry.method = reader.u16();
    reader.skip(4);
    entry.crc = reader.u32();
    entry.stored_size = reader.u32();
    entry.size = reader.u32();
    const uint16_t name_size = reader.u16();
    const uint16_t extra_size = reader.u16();
    const uint16_t comment_size = reader.u16();
    reader.skip(8);
    entry.header_offset = reader.u32();
    entry.name = reader.text(name_size);
    read_zip64_extra(reader.take(extra_size), entry);
    reader.skip(comment_size);
    if ((flags & kEncryptedFlag) != 0) fail("zip entry {} is encrypted", entry.name);
    if (!by_name_.emplace(entry.name, entries_.size()).second) {
      fail("zip entry {} is there twice", entry.name);
    }
    entries_.push_back(entry);
  }
}

const ZipArchive::Entry* ZipArchive::find(std::string_view name) const {
  const auto found = by_name_.find(name);
  return found == by_name_.end() ? nullptr : &entries_[found->second];
}

std::span<const std::byte> ZipArchive::contents(const Entry& entry, bool verify) const {
  if (entry.method != 0) {
    fail("zip entry {} is compressed; unpack the file and pack it again with \"zip -0\"",
         entry.name);
  }
  if (entry.size != entry.stored_size || entry.header_offset > bytes_.size()) {
    fail("zip entry {} has a damaged directory record", entry.name);
  }
  ByteReader reader(bytes_, static_cast<size_t>(entry.header_offset));
  return with_context(std::string("zip entry ") + std::string(entry.name), [&] {
    if (reader.u32() != kLocalSignature) fail("byte {}: no entry there", entry.header_offset);
    reader.skip(22);
    const uint16_t name_size = reader.u16();
    const uint16_t extra_size = reader.u16();
    reader.skip(static_cast<uint64_t>(name_size) + extra_size);
    const auto contents = reader.take(entry.size);
    if (verify && entry.crc != 0 && crc32(contents) != entry.crc) {
      fail("checksum does not match: the file is damaged");
    }
    return contents;
  });
}

}  // namespace yoloquant::checkpoint

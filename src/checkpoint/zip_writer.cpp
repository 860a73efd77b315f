#include "checkpoint/zip_writer.h"

#include "checkpoint/crc32.h"
#include "checkpoint/zip_format.h"

namespace yoloquant::checkpoint {

namespace {

constexpr uint64_t kAlignment = 64;
constexpr uint16_t kVersion = 20;
constexpr uint16_t kVersionZip64 = 45;
constexpr uint16_t kDate = (1 << 5) | 1;  // 1980-01-01: the same input gives the same bytes

void put16(std::string& out, uint16_t value) {
  out += static_cast<char>(value & 0xFF);
  out += static_cast<char>(value >> 8);
}
void put32(std::string& out, uint32_t value) {
  put16(out, static_cast<uint16_t>(value & 0xFFFF));
  put16(out, static_cast<uint16_t>(value >> 16));
}
void put64(std::string& out, uint64_t value) {
  put32(out, static_cast<uint32_t>(value & kMax32));
  put32(out, static_cast<uint32_t>(value >> 32));
}
uint32_t clamp32(bool zip64, uint64_t value) {
  return zip64 ? kMax32 : static_cast<uint32_t>(value);
}

// From "version needed" up to the size of the extra field; local and central headers share it.
void put_common(std::string& out, const std::string& name, uint32_t crc, uint64_t size, bool zip64,
                size_t extra_size) {
  put16(out, zip64 ? kVersionZip64 : kVersion);
  put16(out, kUtf8Flag);
  put16(out, 0);  // stored
  put16(out, 0);  // time
  put16(out, kDate);
  put32(out, crc);
  put32(out, clamp32(zip64, size));
  put32(out, clamp32(zip64, size));
  put16(out, static_cast<uint16_t>(name.size()));
  put16(out, static_cast<uint16_t>(extra_size));
}

}  // namespace

void ZipWriter::write(std::string_view bytes) {
  stream_.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  offset_ += bytes.size();
}

void ZipWriter::add(std::string_view name, std::string_view contents) {
  add(name, std::as_bytes(std::span(contents)));
}

void ZipWriter::add(std::string_view name, std::span<const std::byte> contents) {
  const Entry entry{std::string(name), crc32(contents), contents.size(), offset_};
  const bool zip64 = always_zip64_ || entry.size >= kMax32;
  std::string extra;
  if (zip64) {
    put16(extra, kZip64ExtraId);
    put16(extra, 16);
    put64(extra, entry.size);
    put64(extra, entry.size);
  }
  const uint64_t unpadded = offset_ + kLocalHeaderSize + name.size() + extra.size() + 4;
  const auto padding = static_cast<uint16_t>((kAlignment - unpadded % kAlignment) % kAlignment);
  put16(extra, kPaddingExtraId);
  put16(extra, padding);
  extra.append(padding, 'Z');

  std::string header;
  put32(header, kLocalSignature);
  put_common(header, entry.name, entry.crc, entry.size, zip64, extra.size());
  header += entry.name;
  header += extra;
  write(header);
  write({reinterpret_cast<const char*>(contents.data()), contents.size()});
  entries_.push_back(entry);
}

void ZipWriter::finish() {
  const uint64_t directory_offset = offset_;
  for (const Entry& entry : entries_) {
    const bool zip64 = always_zip64_ || entry.size >= kMax32 || entry.offset >= kMax32;
    std::string extra;
    if (zip64) {
      put16(extra, kZip64ExtraId);
      put16(extra, 24);
      put64(extra, entry.size);
      put64(extra, entry.size);
      put64(extra, entry.offset);
    }
    std::string header;
    put32(header, kCentralSignature);
    put16(header, zip64 ? kVersionZip64 : kVersion);
    put_common(header, entry.name, entry.crc, entry.size, zip64, extra.size());
    put16(header, 0);  // comment
    put16(header, 0);  // disk
    put16(header, 0);  // internal attributes
    put32(header, 0);  // external attributes
    put32(header, clamp32(zip64, entry.offset));
    header += entry.name;
    header += extra;
    write(header);
  }
  write_end_records(directory_offset);
}

void ZipWriter::write_end_records(uint64_t directory_offset) {
  const uint64_t size = offset_ - directory_offset;
  const uint64_t count = entries_.size();
  const bool zip64 =
      always_zip64_ || count >= kMax16 || size >= kMax32 || directory_offset >= kMax32;
  std::string record;
  if (zip64) {
    const uint64_t record_offset = offset_;
    put32(record, kZip64EndSignature);
    put64(record, kZip64EndSize - 12);
    put16(record, kVersionZip64);
    put16(record, kVersionZip64);
    put32(record, 0);  // disk
    put32(record, 0);  // disk of the directory
    put64(record, count);
    put64(record, count);
    put64(record, size);
    put64(record, directory_offset);
    put32(record, kZip64LocatorSignature);
    put32(record, 0);
    put64(record, record_offset);
    put32(record, 1);  // disks
  }
  put32(record, kEndRecordSignature);
  put16(record, 0);
  put16(record, 0);
  put16(record, zip64 ? kMax16 : static_cast<uint16_t>(count));
  put16(record, zip64 ? kMax16 : static_cast<uint16_t>(count));
  put32(record, clamp32(zip64, size));
  put32(record, clamp32(zip64, directory_offset));
  put16(record, 0);
  write(record);
}

}  // namespace yoloquant::checkpoint

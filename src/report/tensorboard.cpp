#include "report/tensorboard.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstring>

#include "base/error.h"

namespace yoloquant::report {

namespace fs = std::filesystem;

namespace {

constexpr std::array<uint32_t, 256> make_crc_table() {
  std::array<uint32_t, 256> table{};
  for (uint32_t byte = 0; byte < table.size(); ++byte) {
    uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0x82F63B78U : 0U);
    table[byte] = crc;
  }
  return table;
}

constexpr std::array<uint32_t, 256> kCrcTable = make_crc_table();

// ---- Protobuf's wire format. A field is a tag, number * 8 + wire type, and a value.

template <typename T>
std::string little_endian(T value) {
  static_assert(std::endian::native == std::endian::little);
  std::string bytes(sizeof value, '\0');
  std::memcpy(bytes.data(), &value, sizeof value);
  return bytes;
}

std::string varint(uint64_t value) {
  std::string bytes;
  for (; value >= 0x80; value >>= 7) bytes += static_cast<char>(0x80 | (value & 0x7F));
  bytes += static_cast<char>(value);
  return bytes;
}

std::string tag(unsigned number, unsigned wire_type) { return varint(number * 8 + wire_type); }

std::string varint_field(unsigned number, int64_t value) {
  return tag(number, 0) + varint(static_cast<uint64_t>(value));
}
std::string double_field(unsigned number, double value) {
  return tag(number, 1) + little_endian(value);
}
std::string float_field(unsigned number, float value) {
  return tag(number, 5) + little_endian(value);
}
std::string bytes_field(unsigned number, std::string_view bytes) {
  return tag(number, 2) + varint(bytes.size()).append(bytes);
}

// ---- Files.

double now() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

constexpr std::string_view kPrefix = "events.out.tfevents.";

// TensorBoard reads a folder's files by name, so that the name has a second later than any other's.
fs::path new_event_file(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) fail("{}: cannot make folder: {}", folder.string(), error.message());
  auto second = static_cast<int64_t>(now());
  for (const fs::directory_entry& entry : fs::directory_iterator(folder, error)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with(kPrefix)) continue;
    int64_t other = 0;
    const char* begin = name.data() + kPrefix.size();
    const auto status = std::from_chars(begin, name.data() + name.size(), other).ec;
    // Ten digits, which is what sorts as text.
    if (status == std::errc() && other < 9'999'999'999) second = std::max(second, other + 1);
  }
  if (error) fail("{}: cannot read the folder: {}", folder.string(), error.message());
  return folder / fmt::format("{}{:010}.yoloquant", kPrefix, second);
}

}  // namespace

uint32_t crc32c(std::string_view bytes) {
  uint32_t crc = 0xFFFFFFFFU;
  for (const char byte : bytes) {
    crc = (crc >> 8) ^ kCrcTable[(crc ^ static_cast<unsigned char>(byte)) & 0xFF];
  }
  return ~crc;
}

uint32_t masked_crc32c(std::string_view bytes) {
  return std::rotr(crc32c(bytes), 15) + 0xA282EAD8U;
}

std::string tf_record(std::string_view data) {
  const std::string length = little_endian(uint64_t{data.size()});
  return (length + little_endian(masked_crc32c(length)))
      .append(data)
      .append(little_endian(masked_crc32c(data)));
}

TensorBoardWriter::TensorBoardWriter(const fs::path& folder, int64_t first_step)
    : path_(new_event_file(folder)), stream_(path_, std::ios::binary | std::ios::app) {
  if (!stream_) fail("{}: cannot write: {}", path_.string(), std::strerror(errno));
  write(now(), 0, bytes_field(3, "brain.Event:2"));
  restart(first_step);
  flush();
}

void TensorBoardWriter::add(int64_t step, std::span<const Scalar> scalars) {
  std::string summary;
  for (const auto& [name, value] : scalars) {
    summary += bytes_field(1, bytes_field(1, name) + float_field(2, static_cast<float>(value)));
  }
  write(now(), step, bytes_field(5, summary));
}

void TensorBoardWriter::restart(int64_t first_step) {
  write(now(), first_step, bytes_field(7, varint_field(1, 1)));
}

void TensorBoardWriter::flush() {
  stream_.flush();
  if (!stream_) fail("{}: cannot write (disk full?)", path_.string());
}

void TensorBoardWriter::write(double wall_time, int64_t step, std::string_view payload) {
  std::string event = double_field(1, wall_time);
  if (step != 0) event += varint_field(2, step);
  const std::string record = tf_record(event.append(payload));
  stream_.write(record.data(), static_cast<std::streamsize>(record.size()));
}

}  // namespace yoloquant::report

#include "checkpoint/crc32.h"

#include <array>
#include <bit>
#include <cstring>

namespace yoloquant::checkpoint {

namespace {

// Slicing by sixteen: kTables[k][b] is the CRC of byte b followed by k zero bytes.
constexpr size_t kSlices = 16;
using Tables = std::array<std::array<uint32_t, 256>, kSlices>;

constexpr Tables make_tables() {
  Tables tables{};
  for (uint32_t byte = 0; byte < 256; ++byte) {
    uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0xEDB88320U : 0U);
    tables[0][byte] = crc;
  }
  for (size_t slice = 1; slice < kSlices; ++slice) {
    for (size_t byte = 0; byte < 256; ++byte) {
      const uint32_t previous = tables[slice - 1][byte];
      tables[slice][byte] = (previous >> 8) ^ tables[0][previous & 0xFF];
    }
  }
  return tables;
}

constexpr Tables kTables = make_tables();

uint32_t load_word(const std::byte* bytes) {
  static_assert(std::endian::native == std::endian::little);
  uint32_t word = 0;
  std::memcpy(&word, bytes, sizeof word);
  return word;
}

uint32_t fold_word(uint32_t word, size_t slice) {
  return kTables[slice + 3][word & 0xFF] ^ kTables[slice + 2][(word >> 8) & 0xFF] ^
         kTables[slice + 1][(word >> 16) & 0xFF] ^ kTables[slice][word >> 24];
}

}  // namespace

uint32_t crc32(std::span<const std::byte> bytes) {
  uint32_t crc = 0xFFFFFFFFU;
  const std::byte* at = bytes.data();
  size_t left = bytes.size();
  for (; left >= kSlices; left -= kSlices, at += kSlices) {
    crc = fold_word(load_word(at) ^ crc, 12) ^ fold_word(load_word(at + 4), 8) ^
          fold_word(load_word(at + 8), 4) ^ fold_word(load_word(at + 12), 0);
  }
  for (; left > 0; --left, ++at) {
    crc = (crc >> 8) ^ kTables[0][(crc ^ std::to_integer<uint32_t>(*at)) & 0xFF];
  }
  return ~crc;
}

}  // namespace yoloquant::checkpoint

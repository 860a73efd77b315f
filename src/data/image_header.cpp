#include <algorithm>
#include <array>
#include <cstring>
#include <optional>

#include "base/error.h"
#include "base/text.h"
#include "data/image.h"

// Nothing here needs OpenCV: programs that only list images do not load it.
namespace yoloquant::data {
namespace {

constexpr std::array kExtensions{".jpg", ".jpeg", ".png", ".bmp", ".webp"};

using Bytes = std::span<const std::byte>;

bool starts_with(Bytes file, size_t at, std::string_view magic) {
  return file.size() >= at + magic.size() &&
         std::memcmp(file.data() + at, magic.data(), magic.size()) == 0;
}

// Unsigned integer of `count` bytes; the file must have them.
uint32_t big_endian(Bytes file, size_t at, size_t count) {
  if (at + count > file.size()) fail("truncated header at byte {}", file.size());
  uint32_t value = 0;
  for (size_t i = 0; i < count; ++i) value = value << 8 | std::to_integer<uint32_t>(file[at + i]);
  return value;
}

uint32_t little_endian(Bytes file, size_t at, size_t count) {
  if (at + count > file.size()) fail("truncated header at byte {}", file.size());
  uint32_t value = 0;
  for (size_t i = count; i-- > 0;) value = value << 8 | std::to_integer<uint32_t>(file[at + i]);
  return value;
}

struct Size {
  int64_t width;
  int64_t height;
};

// ITU-T T.81: segments follow SOI; the frame header (SOFn) has the size.
Size jpeg_size(Bytes file) {
  size_t at = 2;
  while (true) {
    if (big_endian(file, at, 1) != 0xFF) fail("JPEG: no marker at byte {}", at);
    const uint32_t marker = big_endian(file, at + 1, 1);
    if (marker == 0xFF) {  // fill byte
      ++at;
      continue;
    }
    at += 2;
    if (marker == 0x01 || (marker >= 0xD0 && marker <= 0xD8)) continue;  // no payload
    if (marker == 0xD9 || marker == 0xDA) fail("JPEG: no frame header before byte {}", at);
    const bool frame =
        marker >= 0xC0 && marker <= 0xCF && marker != 0xC4 && marker != 0xC8 && marker != 0xCC;
    if (frame) return {big_endian(file, at + 5, 2), big_endian(file, at + 3, 2)};
    const uint32_t length = big_endian(file, at, 2);
    if (length < 2) fail("JPEG: segment of {} bytes at byte {}", length, at);
    at += length;
  }
}

// A decoder fills what is missing with grey and only warns: refuse instead.
void check_jpeg_end(Bytes file) {
  constexpr size_t kTrailer = 65536;  // some cameras append data of their own
  const size_t stop = file.size() > kTrailer ? file.size() - kTrailer : 2;
  for (size_t i = file.size() - 1; i > stop; --i) {
    if (file[i] == std::byte{0xD9} && file[i - 1] == std::byte{0xFF}) return;
  }
  fail("JPEG: truncated, no end-of-image marker in {} bytes", file.size());
}

Size bmp_size(Bytes file) {
  const uint32_t header = little_endian(file, 14, 4);
  if (header == 12) return {little_endian(file, 18, 2), little_endian(file, 20, 2)};
  const auto width = static_cast<int32_t>(little_endian(file, 18, 4));
  const auto height = static_cast<int32_t>(little_endian(file, 22, 4));
  return {width, height < 0 ? -int64_t{height} : int64_t{height}};  // negative: rows from the top
}

// RFC 9649: lossy (VP8), lossless (VP8L) or extended (VP8X) first chunk.
Size webp_size(Bytes file) {
  if (starts_with(file, 12, "VP8 ")) {
    return {little_endian(file, 26, 2) & 0x3FFF, little_endian(file, 28, 2) & 0x3FFF};
  }
  if (starts_with(file, 12, "VP8L")) {
    const uint32_t bits = little_endian(file, 21, 4);
    return {(bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1};
  }
  if (starts_with(file, 12, "VP8X")) {
    return {little_endian(file, 24, 3) + 1, little_endian(file, 27, 3) + 1};
  }
  fail("WebP: unknown first chunk");
}

Size header_size(Bytes file) {
  if (starts_with(file, 0, "\xFF\xD8\xFF")) {
    const Size size = jpeg_size(file);
    check_jpeg_end(file);
    return size;
  }
  if (starts_with(file, 0, "\x89PNG\r\n\x1A\n")) {
    return {big_endian(file, 16, 4), big_endian(file, 20, 4)};
  }
  if (starts_with(file, 0, "BM")) return bmp_size(file);
  if (starts_with(file, 0, "RIFF") && starts_with(file, 8, "WEBP")) return webp_size(file);
  fail("not a JPEG, PNG, BMP or WebP image ({} bytes)", file.size());
}

}  // namespace

ImageSize image_size(std::span<const std::byte> file) {
  const Size size = header_size(file);
  if (size.width <= 0 || size.height <= 0) {
    fail("image size {}x{} makes no sense", size.width, size.height);
  }
  if (size.height > kMaxImagePixels / size.width) {
    fail("image of {}x{} pixels is larger than the limit of {} pixels", size.width, size.height,
         kMaxImagePixels);
  }
  return {static_cast<int>(size.width), static_cast<int>(size.height)};
}

bool has_image_extension(const std::filesystem::path& path) {
  return std::ranges::find(kExtensions, lower(path.extension().string())) != kExtensions.end();
}

}  // namespace yoloquant::data

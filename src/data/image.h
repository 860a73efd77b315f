#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "data/box.h"

namespace yoloquant::data {

// An 8-bit colour image: rows from the top, pixels as blue, green, red.
struct Image {
  int width = 0;
  int height = 0;
  std::vector<uint8_t> bgr;  // height * width * 3

  Image() = default;
  // All pixels black.
  Image(int image_width, int image_height);
};

// Larger images are refused before they are decoded: a small file can claim any size.
inline constexpr int64_t kMaxImagePixels = int64_t{1} << 27;

struct ImageSize {
  int width = 0;
  int height = 0;
};

// Size from the header of a JPEG, PNG, BMP or WebP file in memory, before EXIF rotation. Throws
// Error for other formats and for sizes of zero or above kMaxImagePixels.
ImageSize image_size(std::span<const std::byte> file);

// Decodes JPEG, PNG, BMP or WebP as cv2.imread does by default: three channels, 8 bits, alpha
// dropped, EXIF orientation applied. Throws Error for broken or truncated files; `name` is put in
// front of the message.
Image decode_image(std::span<const std::byte> file, std::string_view name);
Image read_image(const std::filesystem::path& path);

// Is this a file name that read_image knows (.jpg, .jpeg, .png, .bmp, .webp, any case)?
bool has_image_extension(const std::filesystem::path& path);

// Writes a JPEG (quality 1..100) or PNG, chosen by the extension.
void write_image(const std::filesystem::path& path, const Image& image, int jpeg_quality = 95);

// A detection to draw.
struct LabeledBox {
  Box box;
  int class_id = 0;
  std::string label;  // e.g. "dog 0.87"; ASCII
};

// Draws boxes with their labels; the colour belongs to the class, the line width to the image size.
void draw_boxes(Image& image, std::span<const LabeledBox> boxes);

// Colour of a class as 0xRRGGBB: hues spread by the golden ratio, so that neighbours differ.
uint32_t class_color(int class_id);

}  // namespace yoloquant::data

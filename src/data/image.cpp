#include "data/image.h"

#include <cstring>
#include <opencv2/imgcodecs.hpp>

#include "base/error.h"
#include "base/file.h"
#include "base/text.h"
#include "data/opencv.h"

namespace yoloquant::data {
namespace {

Image decode(std::span<const std::byte> file) {
  image_size(file);  // refuses what must not be decoded
  configure_opencv();
  const cv::Mat input(1, static_cast<int>(file.size()), CV_8U, const_cast<std::byte*>(file.data()));
  // Not decoded into the image's own bytes: a decoder that fails early leaves its target as it was.
  cv::Mat pixels;
  try {
    pixels = cv::imdecode(input, cv::IMREAD_COLOR);
  } catch (const cv::Exception& error) {
    fail("cannot decode: {}", error.err);
  }
  if (pixels.empty() || pixels.type() != CV_8UC3) fail("cannot decode: broken or unsupported data");
  Image image(pixels.cols, pixels.rows);
  pixels.copyTo(as_matrix(image));
  return image;
}

}  // namespace

Image::Image(int image_width, int image_height) : width(image_width), height(image_height) {
  if (width <= 0 || height <= 0 || height > kMaxImagePixels / width) {
    fail("an image of {}x{} pixels cannot be made", width, height);
  }
  bgr.resize(static_cast<size_t>(width) * static_cast<size_t>(height) * 3);
}

Image decode_image(std::span<const std::byte> file, std::string_view name) {
  return with_context(std::string(name), [&] {
    if (file.size() > INT32_MAX) fail("{} bytes are too many for an image", file.size());
    return decode(file);
  });
}

Image read_image(const std::filesystem::path& path) {
  const std::string file = read_file(path);
  return decode_image(std::as_bytes(std::span(file)), path.string());
}

void write_image(const std::filesystem::path& path, const Image& image, int jpeg_quality) {
  const std::string extension = lower(path.extension().string());
  if (extension != ".jpg" && extension != ".jpeg" && extension != ".png") {
    fail_usage("{}: images are written as .jpg or .png", path.string());
  }
  if (jpeg_quality < 1 || jpeg_quality > 100) {
    fail_usage("JPEG quality {} is not in 1..100", jpeg_quality);
  }
  configure_opencv();
  std::vector<uint8_t> file;
  std::vector<int> parameters;
  if (extension != ".png") parameters = {cv::IMWRITE_JPEG_QUALITY, jpeg_quality};
  try {
    if (!cv::imencode(extension, as_matrix(image), file, parameters)) {
      fail("{}: cannot encode the image", path.string());
    }
  } catch (const cv::Exception& error) {
    fail("{}: cannot encode the image: {}", path.string(), error.err);
  }
  write_file(path, std::string_view(reinterpret_cast<const char*>(file.data()), file.size()));
}

}  // namespace yoloquant::data

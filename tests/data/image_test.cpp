#include "data/image.h"

#include <gmock/gmock.h>

#include "base/error.h"
#include "base/file.h"
#include "base/random.h"
#include "support/error_of.h"
#include "support/shared_data.h"
#include "support/temporary_folder.h"

namespace yoloquant::data {
namespace {

using testing::HasSubstr;

Image gradient(int width, int height) {
  Image image(width, height);
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      uint8_t* pixel = image.bgr.data() + 3 * (y * width + x);
      pixel[0] = static_cast<uint8_t>(x * 255 / width);
      pixel[1] = static_cast<uint8_t>(y * 255 / height);
      pixel[2] = 40;
    }
  }
  return image;
}

std::span<const std::byte> bytes(const std::string& text) { return std::as_bytes(std::span(text)); }

std::string message(const std::string& file) {
  return test::error_of([&] { decode_image(bytes(file), "x.jpg"); });
}

TEST(Image, PngComesBackExactly) {
  const test::TemporaryFolder folder;
  const Image image = gradient(37, 23);
  write_image(folder / "a.png", image);
  const Image back = read_image(folder / "a.png");
  EXPECT_EQ(back.width, 37);
  EXPECT_EQ(back.height, 23);
  EXPECT_EQ(back.bgr, image.bgr);
}

TEST(Image, JpegComesBackNearly) {
  const test::TemporaryFolder folder;
  const Image image = gradient(64, 48);
  write_image(folder / "a.jpg", image, 98);
  const Image back = read_image(folder / "a.jpg");
  ASSERT_EQ(back.bgr.size(), image.bgr.size());
  for (size_t i = 0; i < image.bgr.size(); ++i) ASSERT_NEAR(back.bgr[i], image.bgr[i], 16) << i;
}

// EXIF orientation 6: the camera was turned, the picture is to be shown a quarter turn clockwise.
TEST(Image, ExifOrientationIsApplied) {
  const test::TemporaryFolder folder;
  Image image(32, 16);
  for (size_t i = 0; i < 16 * 3 * 32; i += 3) {
    if (i / 3 % 32 < 16) image.bgr[i] = 255;  // left half blue
  }
  write_image(folder / "a.jpg", image);
  std::string file = read_file(folder / "a.jpg");
  const std::string tiff("MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0", 26);
  const std::string body = std::string("Exif\0\0", 6) + tiff;
  std::string segment = "\xFF\xE1";
  segment += static_cast<char>(0);
  segment += static_cast<char>(body.size() + 2);
  file.insert(2, segment + body);
  const Image turned = decode_image(bytes(file), "a.jpg");
  EXPECT_EQ(turned.width, 16);
  EXPECT_EQ(turned.height, 32);
  const auto blue = [&](int x, int y) { return turned.bgr[static_cast<size_t>(3 * (y * 16 + x))]; };
  EXPECT_GT(blue(8, 4), 200);  // what was left is on top
  EXPECT_LT(blue(8, 28), 50);
}

TEST(Image, ReadsSizesFromHeaders) {
  const auto size_of = [](const std::string& file) {
    const ImageSize size = image_size(bytes(file));
    return std::pair(size.width, size.height);
  };
  const std::string png("\x89PNG\r\n\x1A\n\0\0\0\rIHDR\0\0\x01\0\0\0\0\x20", 24);
  EXPECT_EQ(size_of(png), std::pair(256, 32));
  std::string bmp(26, '\0');
  bmp.replace(0, 2, "BM");
  bmp[14] = 40;
  bmp[18] = 10;
  bmp.replace(22, 4, "\xF4\xFF\xFF\xFF");  // -12: rows from the top
  EXPECT_EQ(size_of(bmp), std::pair(10, 12));
  std::string webp("RIFF\0\0\0\0WEBPVP8X\0\0\0\0\0\0\0\0\x7F\x02\0\x2B\0\0", 30);
  EXPECT_EQ(size_of(webp), std::pair(640, 44));
}

TEST(Image, RefusesWhatIsNoImage) {
  EXPECT_THAT(message(""), HasSubstr("not a JPEG, PNG, BMP or WebP"));
  EXPECT_THAT(message("GIF89a......"), HasSubstr("not a JPEG, PNG, BMP or WebP"));
  EXPECT_THAT(message("\xFF\xD8\xFF"), HasSubstr("truncated header"));
  EXPECT_THAT(message("\xFF\xD8\xFF\xDA"), HasSubstr("no frame header"));
  EXPECT_THAT(message("BM"), HasSubstr("truncated header"));
  EXPECT_THAT(message("x"), HasSubstr("x.jpg: "));
  const std::string huge("\x89PNG\r\n\x1A\n\0\0\0\rIHDR\x40\0\0\0\x40\0\0\0", 24);
  EXPECT_THAT(message(huge), HasSubstr("limit"));
  const std::string negative("\x89PNG\r\n\x1A\n\0\0\0\rIHDR\0\0\0\0\0\0\0\x01", 24);
  EXPECT_THAT(message(negative), HasSubstr("0x1"));
  EXPECT_THROW(read_image("/nonexistent/a.jpg"), Error);
}

TEST(Image, CorruptFilesAreErrorsOrImages) {
  const test::TemporaryFolder folder;
  for (const char* name : {"a.jpg", "a.png"}) {
    write_image(folder / name, gradient(40, 30));
    const std::string file = read_file(folder / name);
    size_t refused = 0;
    for (size_t cut = 0; cut < file.size() - 2; cut += 7) {
      EXPECT_THROW(decode_image(bytes(file.substr(0, cut)), name), Error) << name << cut;
    }
    Random random(1);
    for (int i = 0; i < 300; ++i) {
      std::string broken = file;
      broken[random.below(broken.size())] ^= static_cast<char>(1 << random.below(8));
      try {
        const Image image = decode_image(bytes(broken), name);
        EXPECT_EQ(image.bgr.size(), static_cast<size_t>(image.width) * image.height * 3);
      } catch (const Error&) {
        ++refused;
      }
    }
    EXPECT_GT(refused, 0U) << name;
  }
}

TEST(Image, DrawsBoxesInClassColors) {
  Image image(100, 80);
  const std::vector<LabeledBox> boxes{{{20, 30, 60, 70}, 3, "dog 0.87"},
                                      {{-1e30, -5, 1e30, 1e9}, 4, ""},
                                      {{std::nan(""), 0, 5, 5}, 4, "nan"}};
  draw_boxes(image, boxes);
  const size_t edge = 3 * (50 * 100 + 20);
  const uint32_t color = static_cast<uint32_t>(image.bgr[edge + 2]) << 16 |
                         static_cast<uint32_t>(image.bgr[edge + 1]) << 8 | image.bgr[edge];
  EXPECT_EQ(color, class_color(3));
  EXPECT_EQ(image.bgr[3 * (50 * 100 + 40)], 0);  // inside stays
  EXPECT_NE(class_color(0), class_color(1));
}

TEST(Image, RefusesToWriteWhatItCannot) {
  const test::TemporaryFolder folder;
  const Image image(4, 4);
  EXPECT_THROW(write_image(folder / "a.gif", image), Error);
  EXPECT_THROW(write_image(folder / "a.jpg", image, 0), Error);
  EXPECT_THROW(Image(0, 5), Error);
  EXPECT_THROW(Image(1 << 20, 1 << 20), Error);
}

}  // namespace
}  // namespace yoloquant::data

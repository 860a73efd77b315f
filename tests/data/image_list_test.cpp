#include "data/image_list.h"

#include <gmock/gmock.h>

#include <set>

#include "base/error.h"
#include "base/file.h"
#include "support/error_of.h"
#include "support/shared_data.h"
#include "support/temporary_folder.h"

namespace yoloquant::data {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
namespace fs = std::filesystem;

class ImageListTest : public testing::Test {
 protected:
  // Lists look at names only.
  void touch(const fs::path& name) { write_file(folder_ / name, std::string_view("x")); }
  std::string message(const fs::path& source) {
    return test::error_of([&] { read_image_list(source); });
  }
  test::TemporaryFolder folder_;
};

TEST_F(ImageListTest, ResolvesEntries) {
  touch("b.jpg");
  touch("train2017/a.jpg");
  touch("lists/own.jpg");
  touch("far/c.jpg");
  write_file(folder_ / "lists/list.txt",
             "# a comment\n\n  train2017/a.jpg  \r\na.jpg\n./own.jpg\n../b.jpg\n" +
                 (folder_ / "far/c.jpg").string());
  EXPECT_THAT(read_image_list(folder_ / "lists/list.txt"),
              ElementsAre(folder_ / "train2017/a.jpg", folder_ / "train2017/a.jpg",
                          folder_ / "lists/own.jpg", folder_ / "b.jpg", folder_ / "far/c.jpg"));
}

TEST_F(ImageListTest, MissingFilesAreNamedWithTheirLines) {
  touch("a.jpg");
  write_file(folder_ / "list.txt", std::string_view("a.jpg\nb.jpg\n\n/none/c.jpg\n"));
  const std::string text = message(folder_ / "list.txt");
  EXPECT_THAT(text, HasSubstr("2 images not found"));
  EXPECT_THAT(text, HasSubstr("line 2: 'b.jpg', line 4: '/none/c.jpg'"));
  std::string many;
  for (int i = 0; i < 25; ++i) many += fmt::format("x{}.jpg\n", i);
  write_file(folder_ / "many.txt", many);
  EXPECT_THAT(message(folder_ / "many.txt"), HasSubstr("and 15 more"));
}

TEST_F(ImageListTest, FoldersAreSortedAndNotEntered) {
  touch("in/b.JPG");
  touch("in/a.png");
  touch("in/notes.txt");
  touch("in/deep/c.jpg");
  EXPECT_THAT(read_image_list(folder_ / "in"),
              ElementsAre(folder_ / "in/a.png", folder_ / "in/b.JPG"));
  EXPECT_THAT(read_image_list(folder_ / "in/a.png"), ElementsAre(folder_ / "in/a.png"));
}

TEST_F(ImageListTest, RefusesSourcesWithoutImages) {
  fs::create_directories(folder_ / "empty");
  EXPECT_THAT(message(folder_ / "empty"), HasSubstr("no image"));
  EXPECT_THAT(message(folder_ / "none"), HasSubstr("no such file or folder"));
  write_file(folder_ / "list.txt", std::string_view("# nothing\n"));
  EXPECT_THAT(message(folder_ / "list.txt"), HasSubstr("names no image"));
  write_file(folder_ / "list.bin", std::string_view("a\0b", 3));
  EXPECT_THAT(message(folder_ / "list.bin"), HasSubstr("neither an image nor a list"));
}

TEST_F(ImageListTest, DrawsDifferentImagesBySeed) {
  ImageList images;
  for (int i = 0; i < 50; ++i) images.emplace_back(std::to_string(i));
  const ImageList drawn = draw_images(images, 20, 7);
  EXPECT_EQ(drawn.size(), 20U);
  EXPECT_EQ(std::set<fs::path>(drawn.begin(), drawn.end()).size(), 20U);
  EXPECT_EQ(draw_images(images, 20, 7), drawn);
  EXPECT_NE(draw_images(images, 20, 8), drawn);
  // More images of the same seed begin with those.
  const ImageList more = draw_images(images, 30, 7);
  EXPECT_TRUE(std::equal(drawn.begin(), drawn.end(), more.begin()));
  EXPECT_THAT(draw_images(images, 99, 1), testing::UnorderedElementsAreArray(images));
}

TEST_F(ImageListTest, WrittenListsComeBack) {
  touch("train2017/a.jpg");
  touch("other/b.jpg");
  const ImageList images{folder_ / "train2017/a.jpg", folder_ / "other/b.jpg"};
  write_image_list(folder_ / "train2017/list.txt", images, std::vector<std::string>{"seed 1"});
  EXPECT_THAT(read_file(folder_ / "train2017/list.txt"), testing::StartsWith("# seed 1\na.jpg\n/"));
  EXPECT_EQ(read_image_list(folder_ / "train2017/list.txt"), images);
}

TEST(ImageList, RealCalibrationList) {
  YQ_REQUIRE_SHARED();
  const ImageList images = read_image_list(test::shared_data() / "coco/calib100.txt");
  EXPECT_EQ(images.size(), 100U);
  EXPECT_EQ(images[0].filename(), "000000000009.jpg");
}

}  // namespace
}  // namespace yoloquant::data

#include "data/prepared_images.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/file.h"
#include "data/shapes.h"
#include "support/temporary_folder.h"

namespace yoloquant::data {
namespace {

class Loader : public testing::Test {
 protected:
  Loader() {
    for (int i = 0; i < 23; ++i) {
      const auto path = folder_ / (std::to_string(i) + ".png");
      write_image(path, render_shapes(40 + i, 50, 3, static_cast<uint64_t>(i)).image);
      list_.push_back(path);
    }
  }
  std::vector<std::vector<float>> load(const LoaderOptions& options) {
    PreparedImages images(list_, options);
    EXPECT_EQ(images.size(), list_.size());
    std::vector<std::vector<float>> inputs;
    PreparedImage image;
    while (images.next(image)) {
      EXPECT_EQ(image.index, inputs.size());
      EXPECT_EQ(image.path, list_[image.index]);
      EXPECT_EQ(image.letterbox.image_width, 40 + static_cast<int>(image.index));
      inputs.push_back(image.input);
    }
    EXPECT_FALSE(images.next(image));
    return inputs;
  }
  test::TemporaryFolder folder_;
  ImageList list_;
};

TEST_F(Loader, SameInOrderForAnyThreadsAndLookAhead) {
  std::vector<std::vector<float>> expected;
  for (const auto& path : list_) {
    expected.emplace_back(3 * 64 * 32);
    letterbox(read_image(path), 64, 32, expected.back());
  }
  for (const int threads : {1, 2, 5, 40}) {
    for (const int look_ahead : {0, 1, 3, 100}) {
      EXPECT_EQ(load({64, 32, threads, look_ahead}), expected) << threads << ' ' << look_ahead;
    }
  }
}

TEST_F(Loader, BadImagesAreReportedInOrderAndSkipped) {
  write_file(list_[3], std::string_view("no image"));
  std::filesystem::remove(list_[22]);
  PreparedImages images(list_, {32, 32, 3, 0});
  PreparedImage image;
  std::vector<size_t> good;
  std::string errors;
  for (bool more = true; more;) {
    try {
      more = images.next(image);
      if (more) good.push_back(image.index);
    } catch (const Error& error) {
      errors += std::string(error.what()) + "\n";
      EXPECT_EQ(good.size(), good.size() < 10 ? 3U : 21U);
    }
  }
  EXPECT_EQ(good.size(), 21U);
  EXPECT_NE(errors.find("3.png: not a JPEG"), std::string::npos) << errors;
  EXPECT_NE(errors.find("22.png"), std::string::npos) << errors;
}

// Nothing beyond the look-ahead is read: files that vanish later are missed.
TEST_F(Loader, ReadsNoFurtherThanTheLookAhead) {
  PreparedImages images(list_, {32, 32, 4, 2});
  PreparedImage image;
  ASSERT_TRUE(images.next(image));
  for (size_t i = 3; i < list_.size(); ++i) std::filesystem::remove(list_[i]);
  ASSERT_TRUE(images.next(image));
  ASSERT_TRUE(images.next(image));
  EXPECT_THROW(images.next(image), Error);
}

TEST_F(Loader, StopsEarly) {
  for (int taken = 0; taken < 4; ++taken) {
    PreparedImages images(list_, {32, 32, 3, 4});
    PreparedImage image;
    for (int i = 0; i < taken; ++i) ASSERT_TRUE(images.next(image));
  }
}

TEST_F(Loader, RefusesBadSizes) {
  EXPECT_THROW(PreparedImages(list_, {0, 32, 1, 0}), Error);
  EXPECT_THROW(PreparedImages(list_, {32, 1 << 20, 1, 0}), Error);
  PreparedImages none({}, {32, 32, 2, 0});
  PreparedImage image;
  EXPECT_FALSE(none.next(image));
}

}  // namespace
}  // namespace yoloquant::data

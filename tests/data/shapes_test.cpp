#include "data/shapes.h"

#include <gtest/gtest.h>

#include <set>

#include "base/error.h"
#include "base/file.h"
#include "data/coco_dataset.h"
#include "support/temporary_folder.h"

namespace yoloquant::data {
namespace {

TEST(Shapes, AreTheSameForASeed) {
  const ShapesImage a = render_shapes(160, 120, 6, 11);
  const ShapesImage b = render_shapes(160, 120, 6, 11);
  const ShapesImage c = render_shapes(160, 120, 6, 12);
  EXPECT_EQ(a.image.bgr, b.image.bgr);
  EXPECT_NE(a.image.bgr, c.image.bgr);
  ASSERT_EQ(a.objects.size(), b.objects.size());
}

TEST(Shapes, BoxesLieInTheImageAndAllClassesOccur) {
  std::set<int> classes;
  size_t objects = 0;
  double smallest = 1e9;
  double largest = 0;
  for (uint64_t seed = 0; seed < 60; ++seed) {
    const ShapesImage shapes = render_shapes(200, 160, 5, seed);
    EXPECT_LE(shapes.objects.size(), 5U);
    for (const ShapeObject& object : shapes.objects) {
      ++objects;
      classes.insert(object.class_id);
      EXPECT_GE(object.box.x1, 0);
      EXPECT_GE(object.box.y1, 0);
      EXPECT_LE(object.box.x2, 200);
      EXPECT_LE(object.box.y2, 160);
      EXPECT_GT(object.area, 0);
      EXPECT_LE(static_cast<double>(object.area), object.box.width() * object.box.height());
      smallest = std::min(smallest, object.box.width());
      largest = std::max(largest, object.box.width());
    }
  }
  EXPECT_EQ(classes.size(), shape_names().size());
  EXPECT_GT(objects, 120U);
  EXPECT_LT(smallest, 14);
  EXPECT_GT(largest, 60);
}

// One shape on a plain image: the box is where the pixels change most.
TEST(Shapes, BoxIsExact) {
  int tested = 0;
  for (uint64_t seed = 0; seed < 40; ++seed) {
    const ShapesImage shapes = render_shapes(64, 64, 1, seed);
    if (shapes.objects.size() != 1) continue;
    const Box& box = shapes.objects[0].box;
    if (box.x1 < 2 || box.y1 < 2 || box.x2 > 62 || box.y2 > 62) continue;
    // Largest contrast of neighbours in each row and column just inside and outside of the box.
    const auto contrast = [&](int x0, int y0, int x1, int y1) {
      int sum = 0;
      for (size_t c = 0; c < 3; ++c) {
        sum += std::abs(shapes.image.bgr[static_cast<size_t>(3 * (y0 * 64 + x0)) + c] -
                        shapes.image.bgr[static_cast<size_t>(3 * (y1 * 64 + x1)) + c]);
      }
      return sum;
    };
    int left_edge = 0;
    int left_outside = 0;
    const int x = static_cast<int>(box.x1);
    for (int y = static_cast<int>(box.y1); y < static_cast<int>(box.y2); ++y) {
      left_edge = std::max(left_edge, contrast(x - 1, y, x, y));
      left_outside = std::max(left_outside, contrast(x - 2, y, x - 1, y));
    }
    EXPECT_GT(left_edge, left_outside) << seed;
    ++tested;
  }
  EXPECT_GT(tested, 10);
}

TEST(Shapes, WritesACocoSetOnce) {
  const test::TemporaryFolder folder;
  const auto root = folder / "set";
  const ShapesOptions options{
      .train_images = 6, .val_images = 4, .width = 96, .height = 64, .max_objects = 4, .seed = 3};
  write_shapes(root, options, 2);
  const auto train = CocoDataset::open(root, "train2017");
  const auto val = CocoDataset::open(root, "val2017");
  EXPECT_EQ(train.images().size(), 6U);
  EXPECT_EQ(val.images().size(), 4U);
  EXPECT_EQ(val.categories().size(), 6U);
  EXPECT_EQ(val.categories()[3].name, "star");
  EXPECT_FALSE(val.annotations().empty());
  for (const CocoImage& image : train.images()) {
    const Image pixels = read_image(train.image_path(image));
    EXPECT_EQ(pixels.width, 96);
    EXPECT_EQ(pixels.height, 64);
  }
  const auto digest = [&] { return sha256_of_file(root / "annotations/instances_train2017.json"); };
  const std::string before = digest();
  const auto time = std::filesystem::last_write_time(root / "val2017/000000000001.jpg");
  write_shapes(root, options);  // nothing to do
  EXPECT_EQ(std::filesystem::last_write_time(root / "val2017/000000000001.jpg"), time);

  // Interrupted before the end: made again, the same.
  std::filesystem::rename(root / "shapes.txt", root / "shapes.unfinished");
  write_shapes(root, options, 3);
  EXPECT_EQ(digest(), before);

  ShapesOptions other = options;
  other.seed = 4;
  EXPECT_THROW(write_shapes(root, other), Error);
  write_file(folder / "mine/file.txt", std::string_view("x"));
  EXPECT_THROW(write_shapes(folder / "mine", options), Error);
  EXPECT_THROW(write_shapes(folder / "new", {.train_images = 0}), Error);
  EXPECT_THROW(render_shapes(4, 4, 1, 0), Error);
}

}  // namespace
}  // namespace yoloquant::data

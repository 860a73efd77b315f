#include "data/coco_labels.h"

#include <gmock/gmock.h>

#include <fstream>
#include <map>

#include "base/error.h"
#include "base/file.h"
#include "data/coco_dataset.h"
#include "data/label_scan.h"
#include "data/shapes.h"
#include "support/shared_data.h"
#include "support/temporary_folder.h"

namespace yoloquant::data {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;

// Everything below a folder, with sizes and times.
std::map<std::string, std::pair<uintmax_t, fs::file_time_type>> listing(const fs::path& folder) {
  std::map<std::string, std::pair<uintmax_t, fs::file_time_type>> found;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    const uintmax_t size = entry.is_regular_file() ? entry.file_size() : 0;
    found[entry.path().string()] = {size, entry.last_write_time()};
  }
  return found;
}

void set_writable(const fs::path& folder, bool writable) {
  using fs::perms;
  const perms write = perms::owner_write | perms::group_write | perms::others_write;
  const auto mode = writable ? fs::perm_options::add : fs::perm_options::remove;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    fs::permissions(entry.path(), writable ? perms::owner_write : write, mode);
  }
  fs::permissions(folder, writable ? perms::owner_write : write, mode);
}

// Labels against the boxes of the JSON they were made of, in pixels.
void expect_equal_boxes(const CocoDataset& coco, const fs::path& labels) {
  for (size_t i = 0; i < coco.images().size(); ++i) {
    const CocoImage& image = coco.images()[i];
    const fs::path file = labels / fs::path(image.file_name).replace_extension(".txt");
    const std::vector<YoloLabel> read = parse_yolo_labels(read_file(file), 80).labels;
    size_t next = 0;
    for (const CocoAnnotation& annotation : coco.annotations_of(i)) {
      if (annotation.is_crowd || annotation.width <= 0 || annotation.height <= 0) continue;
      ASSERT_LT(next, read.size()) << file;
      const YoloLabel& label = read[next++];
      EXPECT_EQ(label.class_id, annotation.category);
      EXPECT_NEAR((label.x - label.width / 2) * image.width, annotation.x, 1e-6);
      EXPECT_NEAR((label.y - label.height / 2) * image.height, annotation.y, 1e-6);
      EXPECT_NEAR(label.width * image.width, annotation.width, 1e-6);
      EXPECT_NEAR(label.height * image.height, annotation.height, 1e-6);
    }
    EXPECT_EQ(next, read.size()) << file;
  }
}

class CocoLabelsOfShapes : public testing::Test {
 protected:
  CocoLabelsOfShapes() {
    write_shapes(root_, {.train_images = 12, .val_images = 3, .width = 64, .height = 48});
  }
  ~CocoLabelsOfShapes() override { set_writable(root_, true); }

  std::vector<std::string> train_names() const {
    std::vector<std::string> names;
    for (const auto& path : split_images({out_ / "images/train2017"}, out_)) {
      names.push_back(path.filename().string());
    }
    return names;
  }

  test::TemporaryFolder folder_;
  fs::path root_ = folder_ / "coco";
  fs::path out_ = folder_ / "run/data";
};

TEST_F(CocoLabelsOfShapes, ReadOnlySourceIsLinkedAndLeftAsItWas) {
  set_writable(root_, false);
  const auto before = listing(root_);
  const CocoLabels made = write_coco_labels(root_, out_);
  EXPECT_EQ(made.train.images, 12U);
  EXPECT_EQ(made.val.images, 3U);
  EXPECT_EQ(made.data.names, shape_names());

  const DataYaml data = read_data_yaml(out_ / "data.yaml");
  EXPECT_EQ(data.names, shape_names());
  const LabelScan scan = scan_labels(split_images(data.train, data.root), data.classes(),
                                     {.cache = folder_ / "run/train.cache"});
  EXPECT_EQ(scan.images.size(), 12U);
  EXPECT_TRUE(scan.problems.empty());
  EXPECT_EQ(scan.without_label_file, 0U);
  EXPECT_TRUE(fs::is_symlink(scan.images[0].image));
  expect_equal_boxes(CocoDataset::open(root_, "train2017"), out_ / "labels/train2017");
  EXPECT_EQ(listing(root_), before);
}

TEST_F(CocoLabelsOfShapes, CalledAgainItPutsRightOnlyWhatDiffers) {
  write_coco_labels(root_, out_);
  const fs::path label = out_ / "labels/train2017/000000000003.txt";
  const std::string good = read_file(label);
  const auto untouched = fs::last_write_time(out_ / "labels/train2017/000000000004.txt");
  std::ofstream(label) << "0 .1";
  fs::remove(out_ / "images/train2017/000000000005.jpg");
  write_coco_labels(root_, out_);
  EXPECT_EQ(read_file(label), good);
  EXPECT_TRUE(fs::exists(out_ / "images/train2017/000000000005.jpg"));
  EXPECT_EQ(fs::last_write_time(out_ / "labels/train2017/000000000004.txt"), untouched);
}

TEST_F(CocoLabelsOfShapes, FractionIsOfTheTrainingImagesBySeed) {
  EXPECT_EQ(write_coco_labels(root_, out_, {.fraction = 0.25, .seed = 3}).train.images, 3U);
  const auto names = train_names();
  EXPECT_EQ(names.size(), 3U);
  EXPECT_EQ(split_images({out_ / "images/val2017"}, out_).size(), 3U);
  // Another choice must not be mixed into the folder.
  EXPECT_THROW(write_coco_labels(root_, out_, {.fraction = 0.5, .seed = 3}), Error);
  fs::remove_all(out_);
  write_coco_labels(root_, out_, {.fraction = 0.25, .seed = 3});
  EXPECT_EQ(train_names(), names);
  fs::remove_all(out_);
  write_coco_labels(root_, out_, {.fraction = 0.25, .seed = 4});
  EXPECT_NE(train_names(), names);
}

TEST_F(CocoLabelsOfShapes, AFolderWithOtherThingsIsRefused) {
  write_file(out_ / "mine.txt", std::string_view("x"));
  EXPECT_THROW(write_coco_labels(root_, out_), Error);
}

class CocoLabelsOfJson : public CocoLabelsOfShapes {
 protected:
  CocoLabels convert(const std::string& annotations, const std::string& name = "000000000001.jpg") {
    fs::remove_all(out_);
    const std::string text = R"({"images": [{"id": 1, "file_name": ")" + name +
                             R"(", "width": 64, "height": 48}, {"id": 2, "file_name": "gone.jpg"}],
           "categories": [{"id": 90, "name": "b"}, {"id": 7, "name": "a"}],
           "annotations": [)" +
                             annotations + "]}";
    for (const char* split : {"train2017", "val2017"}) {
      write_file(root_ / "annotations" / fmt::format("instances_{}.json", split), text);
    }
    return write_coco_labels(root_, out_);
  }
  std::string labels() const { return read_file(out_ / "labels/train2017/000000000001.txt"); }
};

TEST_F(CocoLabelsOfJson, CrowdsAndEmptyBoxesAreDroppedCategoriesInOrder) {
  const CocoLabels made = convert(R"(
    {"image_id": 1, "category_id": 90, "bbox": [16, 12, 32, 12]},
    {"image_id": 1, "category_id": 7, "bbox": [0, 0, 8, 8], "iscrowd": 1},
    {"image_id": 1, "category_id": 7, "bbox": [0, 0, 0, 8]},
    {"image_id": 1, "category_id": 7, "bbox": [0, 0, 8, -1]},
    {"image_id": 1, "category_id": 7, "bbox": [48, -12, 32, 36]},
    {"image_id": 1, "category_id": 7, "bbox": [70, 0, 8, 8]})");
  EXPECT_EQ(labels(), "1 0.5 0.375 0.5 0.25\n0 0.875 0.25 0.25 0.5\n");
  EXPECT_THAT(made.data.names, ElementsAre("a", "b"));
  EXPECT_EQ(made.train.objects, 2U);
  EXPECT_EQ(made.train.crowds, 1U);
  EXPECT_EQ(made.train.empty_boxes, 3U);
  EXPECT_EQ(made.train.clipped, 2U);
  EXPECT_EQ(made.train.missing_images, 1U);
  EXPECT_EQ(made.train.first_missing.filename(), "gone.jpg");
}

TEST_F(CocoLabelsOfJson, AFileNameMayNotLeaveTheFolder) {
  try {
    convert("", "../train2017/000000000001.jpg");
    FAIL() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("image 1: '../train2017/000000000001.jpg' is no name"));
  }
}

TEST(CocoLabelsOfRealData, EqualTheJson) {
  YQ_REQUIRE_SHARED();
  const fs::path root = test::shared_data() / "coco";
  const test::TemporaryFolder folder;
  const CocoLabels made = write_coco_labels(root, folder / "data");
  EXPECT_EQ(made.train.images, 128U);
  EXPECT_EQ(made.val.images, 50U);
  EXPECT_EQ(made.train.clipped, 0U);
  EXPECT_EQ(made.data.names.size(), 80U);
  EXPECT_EQ(made.data.names[79], "toothbrush");
  for (const char* split : {"train2017", "val2017"}) {
    expect_equal_boxes(CocoDataset::open(root, split), folder / "data/labels" / split);
  }
}

}  // namespace
}  // namespace yoloquant::data

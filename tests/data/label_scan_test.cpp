#include "data/label_scan.h"

#include <gmock/gmock.h>

#include "base/error.h"
#include "base/file.h"
#include "data/image.h"
#include "data/label_cache.h"
#include "support/temporary_folder.h"

namespace yoloquant::data {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;

// Six images: 0 and 1 are good (1 has no label file), 2 has a bad row, 3 is no image, 4 is tiny,
// 5 is not there.
class Scan : public testing::Test {
 protected:
  Scan() {
    for (int i = 0; i < 6; ++i) list_.push_back(folder_ / fmt::format("images/{}.png", i));
    for (const int i : {0, 1, 2}) write_image(list_[static_cast<size_t>(i)], Image(20 + i, 12));
    write_file(list_[3], std::string_view("no image"));
    write_image(list_[4], Image(20, 9));
    write_file(folder_ / "labels/0.txt", std::string_view("1 .5 .5 .25 .5\n1 .5 .5 .25 .5\n"));
    write_file(folder_ / "labels/2.txt", std::string_view("0 .5 .5 .2 .2\n0 .5 .5 7 .2\n"));
    options_.cache = folder_ / "run/labels.cache";
  }
  LabelScan scan() { return scan_labels(list_, 2, options_); }

  test::TemporaryFolder folder_;
  ImageList list_;
  ScanOptions options_;
};

TEST_F(Scan, BrokenFilesAreReportedOnceAndSkipped) {
  list_.push_back(list_[2]);  // twice in the list
  for (const int threads : {1, 3}) {
    options_ = {.threads = threads};
    const LabelScan result = scan();
    ASSERT_EQ(result.images.size(), 2U);
    EXPECT_EQ(result.images[0].image, list_[0]);
    EXPECT_EQ(result.images[0].width, 20);
    EXPECT_THAT(result.images[0].labels, ElementsAre(YoloLabel{1, .5, .5, .25, .5}));
    EXPECT_EQ(result.duplicates, 1U);
    EXPECT_EQ(result.without_label_file, 1U);
    EXPECT_EQ(result.without_objects, 1U);
    EXPECT_THAT(result.problems, ElementsAre(HasSubstr("labels/2.txt: line 2: 7 is above 1"),
                                             HasSubstr("images/3.png: not a JPEG"),
                                             HasSubstr("images/4.png: a side of 20x9"),
                                             HasSubstr("images/5.png: cannot open")));
  }
}

TEST_F(Scan, CacheGivesTheSameAndReadsOnlyWhatChanged) {
  const LabelScan first = scan();
  EXPECT_EQ(first.from_cache, 0U);
  const LabelScan second = scan();
  EXPECT_EQ(second.from_cache, 6U);
  EXPECT_EQ(second.problems, first.problems);
  EXPECT_EQ(second.images[0].labels, first.images[0].labels);
  EXPECT_EQ(second.sha256, first.sha256);

  write_file(folder_ / "labels/0.txt", std::string_view("0 .5 .5 .25 .5\n"));
  fs::last_write_time(list_[1], fs::last_write_time(list_[1]) + std::chrono::seconds(2));
  const LabelScan third = scan();
  EXPECT_EQ(third.from_cache, 4U);
  EXPECT_EQ(third.images[0].labels.at(0).class_id, 0);
  EXPECT_NE(third.sha256, first.sha256);
  EXPECT_EQ(scan().from_cache, 6U);
  // Another number of classes makes other rows valid.
  EXPECT_EQ(scan_labels(list_, 3, options_).from_cache, 0U);
}

TEST_F(Scan, DamagedCacheIsIgnoredAndWrittenAgain) {
  scan();
  const std::string good = read_file(options_.cache);
  std::string flipped = good;
  flipped[good.size() / 2] = static_cast<char>(flipped[good.size() / 2] ^ 4);
  for (const std::string& bad : {flipped, good.substr(0, 100), std::string(), good + "x"}) {
    write_file(options_.cache, bad);
    EXPECT_EQ(scan().from_cache, 0U);
    EXPECT_EQ(read_file(options_.cache), good);
  }
}

// A correct digest does not make the rest trustworthy.
TEST_F(Scan, CacheWithASizeBeyondItsEndIsIgnored) {
  scan();
  const std::string good = read_file(options_.cache);
  const std::string body = good.substr(0, good.size() - 64);
  for (size_t at = 0; at + 4 <= body.size(); at += 3) {
    std::string bad = body;
    bad.replace(at, 4, "\xFF\xFF\xFF\xFF");
    write_file(options_.cache, bad + sha256(bad));
    read_label_cache(options_.cache, 2);  // no crash, no memory without bounds
    if (at > 300) break;
  }
  const std::string cut = body.substr(0, body.size() - 1);
  write_file(options_.cache, cut + sha256(cut));
  EXPECT_TRUE(read_label_cache(options_.cache, 2).empty());
}

TEST_F(Scan, HashIsOfTheContentsWhereverTheyLie) {
  const std::string hash = scan().sha256;
  fs::rename(folder_ / "images", folder_ / "moved");
  fs::create_directory(folder_ / "new");
  fs::rename(folder_ / "moved", folder_ / "new/images");
  fs::rename(folder_ / "labels", folder_ / "new/labels");
  for (fs::path& path : list_) path = folder_ / "new/images" / path.filename();
  EXPECT_EQ(scan().sha256, hash);
}

TEST_F(Scan, NothingLeftIsAnError) {
  list_ = {list_[3], list_[4]};
  EXPECT_THROW(scan(), Error);
}

TEST_F(Scan, LabelsAsCocoAnnotations) {
  const LabelScan result = scan();
  const std::vector<std::string> names{"cat", "dog"};
  const CocoDataset coco = to_coco_dataset(result.images, names);
  ASSERT_EQ(coco.images().size(), 2U);
  EXPECT_EQ(coco.image_path(coco.images()[0]), list_[0]);
  EXPECT_EQ(coco.categories()[1].name, "dog");
  ASSERT_EQ(coco.annotations_of(0).size(), 1U);
  const CocoAnnotation& object = coco.annotations_of(0)[0];
  EXPECT_EQ(object.category, 1);
  EXPECT_DOUBLE_EQ(object.x, 7.5);
  EXPECT_DOUBLE_EQ(object.y, 3);
  EXPECT_DOUBLE_EQ(object.width, 5);
  EXPECT_DOUBLE_EQ(object.area, 30);
}

}  // namespace
}  // namespace yoloquant::data

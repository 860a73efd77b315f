#include "data/coco_dataset.h"

#include <gmock/gmock.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "data/json_stream.h"
#include "support/error_of.h"
#include "support/shared_data.h"
#include "support/temporary_folder.h"

namespace yoloquant::data {
namespace {

using testing::HasSubstr;

constexpr const char* kSmall = R"({
  "info": {"annotations": [1, 2, "]}"], "x": null},
  "annotations": [
    {"segmentation": [[1,2,3,4]], "area": 12.5, "iscrowd": 0, "image_id": 9, "bbox": [1, 2, 3.5, 4],
     "category_id": 18, "id": 100},
    {"image_id": 4, "bbox": [0, 0, 10, 20], "category_id": 3, "id": 101, "iscrowd": 1},
    {"image_id": 9, "bbox": [5, 5, 5, 5], "category_id": 3, "id": 7, "ignore": true},
    {"image_id": 555, "bbox": [5, 5, 5, 5], "category_id": 3, "id": 8}],
  "licenses": "none",
  "images": [{"id": 9, "file_name": "nine.jpg", "width": 64, "height": 48, "flickr_url": "http:\/\/x"},
             {"file_name": "four.jpg", "id": 4}],
  "categories": [{"id": 18, "name": "dog", "supercategory": "animal"}, {"id": 3, "name": "car"}]
})";

class CocoFile : public testing::Test {
 protected:
  CocoDataset read(const std::string& text) {
    // Not written over, which would wait for the disk, as write_file does.
    std::filesystem::remove(folder_ / "a.json");
    std::ofstream(folder_ / "a.json", std::ios::binary) << text;
    return CocoDataset::read(folder_ / "a.json");
  }
  std::string message(const std::string& text) {
    return test::error_of([&] { read(text); });
  }
  test::TemporaryFolder folder_;
};

TEST(CocoDatasetMake, SortsAndGroupsAsAFileIsRead) {
  const CocoDataset dataset = CocoDataset::make(
      {{18, "dog"}, {3, "car"}}, {{.id = 9, .file_name = "nine.jpg"}, {.id = 4, .file_name = {}}},
      {{.id = 1, .image = 0, .category = 0},
       {.id = 2, .image = 1, .category = 1},
       {.id = 3, .image = 0, .category = 1}});
  EXPECT_EQ(dataset.images()[1].file_name, "nine.jpg");
  EXPECT_EQ(dataset.categories()[0].name, "car");
  ASSERT_EQ(dataset.annotations_of(1).size(), 2U);
  EXPECT_EQ(dataset.annotations_of(1)[0].id, 1);
  EXPECT_EQ(dataset.annotations_of(1)[0].category, 1);
  EXPECT_EQ(dataset.annotations_of(1)[1].id, 3);
  EXPECT_EQ(dataset.annotations_of(0)[0].category, 0);
  EXPECT_THROW(CocoDataset::make({{1, "a"}, {1, "b"}}, {}, {}), Error);
  EXPECT_THROW(CocoDataset::make({{1, "a"}}, {}, {{.id = 1, .image = 0, .category = 0}}), Error);
}

TEST_F(CocoFile, IsReadSortedAndGrouped) {
  const CocoDataset dataset = read(kSmall);
  ASSERT_EQ(dataset.images().size(), 2U);
  EXPECT_EQ(dataset.images()[0].id, 4);
  EXPECT_EQ(dataset.images()[1].file_name, "nine.jpg");
  EXPECT_EQ(dataset.images()[1].width, 64);
  ASSERT_EQ(dataset.categories().size(), 2U);
  EXPECT_EQ(dataset.categories()[0].name, "car");
  EXPECT_EQ(dataset.category_index(18), 1);
  EXPECT_EQ(dataset.category_index(4), -1);
  EXPECT_EQ(dataset.image_index(9), 1);
  ASSERT_EQ(dataset.annotations().size(), 3U);  // one is on an image that is not there
  const auto of_nine = dataset.annotations_of(1);
  ASSERT_EQ(of_nine.size(), 2U);
  EXPECT_EQ(of_nine[0].id, 100);
  EXPECT_EQ(of_nine[0].category, 1);
  EXPECT_EQ(of_nine[0].width, 3.5);
  EXPECT_EQ(of_nine[0].area, 12.5);
  EXPECT_TRUE(of_nine[1].ignore);
  EXPECT_EQ(of_nine[1].area, 25);
  EXPECT_TRUE(dataset.annotations_of(0)[0].is_crowd);
  EXPECT_EQ(dataset.first_image_ids(1), std::vector<int64_t>{4});
  EXPECT_EQ(dataset.first_image_ids(0).size(), 2U);
  EXPECT_EQ(dataset.checked_image_ids({9, 4, 9}), (std::vector<int64_t>{4, 9}));
  EXPECT_THROW(dataset.checked_image_ids({5}), Error);
}

TEST_F(CocoFile, MalformedFilesSayWhere) {
  const std::string rest = R"(,"categories":[{"id":1,"name":"a"}],"annotations":[]})";
  EXPECT_THAT(message(""), HasSubstr("ends at byte 0"));
  EXPECT_THAT(message("[]"), HasSubstr("no array 'images'"));
  EXPECT_THAT(message(R"({"images":[]})"), HasSubstr("no array 'categories'"));
  EXPECT_THAT(message(R"({"images":[{"id":1}])" + rest), HasSubstr("images[0]"));
  EXPECT_THAT(message(R"({"images":[{"id":1}])" + rest), HasSubstr("'file_name': missing"));
  EXPECT_THAT(message(R"({"images":[{"id":1,"file_name":"a","width":-3}])" + rest),
              HasSubstr("'width'"));
  EXPECT_THAT(message(R"({"images":[{"id":1,"file_name":"a"},{"id":1,"file_name":"b"}])" + rest),
              HasSubstr("id 1 appears twice"));
  EXPECT_THAT(message(R"({"images":[],"images":[])" + rest), HasSubstr("twice"));
  EXPECT_THAT(message(R"({"images":[],"categories":[],"annotations":[{"id":1,"image_id":1,)"
                      R"("category_id":77,"bbox":[1,2,3,4]}]})"),
              HasSubstr("category 77"));
  EXPECT_THAT(message(R"({"images":[],"categories":[],"annotations":[{"id":1,"image_id":1,)"
                      R"("category_id":77,"bbox":[]}]})"),
              HasSubstr("0 numbers instead of 4"));
  EXPECT_THAT(message(R"({"images" []})"), HasSubstr("byte 10: expected ':'"));
  EXPECT_THAT(message(R"({images:[]})"), HasSubstr("expected a key"));
}

TEST_F(CocoFile, EveryCutIsAnError) {
  const std::string text = kSmall;
  for (size_t cut = 0; cut < text.size(); ++cut) {
    EXPECT_THROW(read(text.substr(0, cut)), Error) << cut;
  }
}

TEST_F(CocoFile, CorruptionNeverCrashes) {
  const std::string text = kSmall;
  size_t refused = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    for (const char flip : {'\x01', '\x04', '\x20', '\x7F'}) {
      std::string broken = text;
      broken[i] = static_cast<char>(broken[i] ^ flip);
      try {
        read(broken);
      } catch (const Error&) {
        ++refused;
      }
    }
  }
  EXPECT_GT(refused, text.size());
}

TEST_F(CocoFile, OpensTheUsualLayouts) {
  const auto root = folder_.path();
  EXPECT_THROW(CocoDataset::open(root, "val2017"), Error);
  write_file(root / "annotations/instances_val2017.json", std::string_view(kSmall));
  EXPECT_THROW(CocoDataset::open(root, "val2017"), Error);  // no images
  std::filesystem::create_directories(root / "images/val2017");
  EXPECT_EQ(CocoDataset::open(root, "val2017").image_folder(), root / "images/val2017");
  std::filesystem::create_directories(root / "val2017");
  const CocoDataset dataset = CocoDataset::open(root, "val2017");
  EXPECT_EQ(dataset.image_path(dataset.images()[0]), root / "val2017" / "four.jpg");
}

TEST(CocoDataset, RealAnnotations) {
  YQ_REQUIRE_SHARED();
  const auto dataset = CocoDataset::open(test::shared_data() / "coco", "val2017");
  EXPECT_EQ(dataset.images().size(), 50U);
  EXPECT_EQ(dataset.categories().size(), 80U);
  EXPECT_EQ(dataset.categories()[79].name, "toothbrush");
  const auto json = nlohmann::json::parse(
      read_file(test::shared_data() / "coco/annotations/instances_val2017.json"));
  ASSERT_EQ(dataset.annotations().size(), json["annotations"].size());
  for (const auto& image : dataset.images()) {
    EXPECT_TRUE(std::filesystem::exists(dataset.image_path(image)));
  }
}

// Whatever the size of its pieces, the stream gives the same elements.
TEST(JsonArrayStream, CutsAtElementsForAnyBatchSize) {
  const test::TemporaryFolder folder;
  std::string text =
      "{ \"skip\" : {\"a\": [1, {\"b\": \"}\\\"]\"}]}, \"n\": -12.5e3 , \"list\" : [ ";
  std::vector<std::string> elements;
  for (int i = 0; i < 60; ++i) {
    elements.push_back(i % 3 == 0   ? std::to_string(i)
                       : i % 3 == 1 ? "{\"k\": [" + std::string(static_cast<size_t>(i), '1') + "]}"
                                    : "\"te\\\\xt, ]}" +
                                          std::string(static_cast<size_t>(i % 7), 'x') + "\"");
    text += (i > 0 ? " , " : "") + elements.back();
  }
  text += " ], \"empty\": [ ], \"tail\": true }\n";
  write_file(folder / "a.json", text);
  for (size_t batch_bytes = 2; batch_bytes < 300; batch_bytes += batch_bytes < 20 ? 1 : 37) {
    JsonArrayStream stream(folder / "a.json", batch_bytes);
    std::string key;
    JsonArrayStream::Batch batch;
    ASSERT_TRUE(stream.next_array(&key));
    EXPECT_EQ(key, "list");
    nlohmann::json all = nlohmann::json::array();
    while (stream.next_batch(&batch)) {
      EXPECT_EQ(batch.first_index, all.size());
      EXPECT_EQ(text.substr(batch.offset, elements[all.size()].size()), elements[all.size()]);
      const auto part = nlohmann::json::parse(batch.json);
      all.insert(all.end(), part.begin(), part.end());
    }
    ASSERT_EQ(all.size(), elements.size());
    for (size_t i = 0; i < elements.size(); ++i) {
      EXPECT_EQ(all[i], nlohmann::json::parse(elements[i])) << i;
    }
    ASSERT_TRUE(stream.next_array(&key));
    EXPECT_EQ(key, "empty");
    EXPECT_FALSE(stream.next_batch(&batch));
    EXPECT_FALSE(stream.next_array(&key));
    EXPECT_FALSE(stream.next_array(&key));
  }
}

TEST(JsonArrayStream, SkipsArraysThatNobodyReads) {
  const test::TemporaryFolder folder;
  write_file(folder / "a.json", std::string_view("{\"a\":[1,2,[3]],\"b\":[4]}"));
  JsonArrayStream stream(folder / "a.json", 4);
  std::string key;
  ASSERT_TRUE(stream.next_array(&key));
  ASSERT_TRUE(stream.next_array(&key));
  EXPECT_EQ(key, "b");
  JsonArrayStream::Batch batch;
  ASSERT_TRUE(stream.next_batch(&batch));
  EXPECT_EQ(batch.json, "[4]");
  EXPECT_FALSE(stream.next_array(&key));
  EXPECT_THROW(JsonArrayStream(folder / "none.json"), Error);
}

}  // namespace
}  // namespace yoloquant::data

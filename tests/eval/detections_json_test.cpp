#include "eval/detections_json.h"

#include <gmock/gmock.h>

#include <fstream>

#include "base/error.h"
#include "base/file.h"
#include "support/error_of.h"
#include "support/temporary_folder.h"

namespace yoloquant::eval {
namespace {

class DetectionsJson : public testing::Test {
 protected:
  std::vector<CocoDetection> read(const std::string& text) {
    // Not written over, which would wait for the disk, as write_file does.
    std::filesystem::remove(folder_ / "d.json");
    std::ofstream(folder_ / "d.json", std::ios::binary) << text;
    return read_detections(folder_ / "d.json");
  }
  std::string message(const std::string& text) {
    return test::error_of([&] { read(text); });
  }
  test::TemporaryFolder folder_;
};

TEST_F(DetectionsJson, WritesWhatItReads) {
  const std::vector<CocoDetection> detections{{139, 72, 4.844, 168.71, 149.373, 94.5, 0.896544},
                                              {-5, 1, 0, 0, 1e6, 0.001, 1e-30F}};
  write_detections(folder_ / "d.json", detections);
  const auto back = read_detections(folder_ / "d.json");
  ASSERT_EQ(back.size(), 2U);
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(back[i].image_id, detections[i].image_id);
    EXPECT_EQ(back[i].category_id, detections[i].category_id);
    EXPECT_EQ(back[i].x, detections[i].x);
    EXPECT_EQ(back[i].width, detections[i].width);
    EXPECT_EQ(static_cast<float>(back[i].score), static_cast<float>(detections[i].score));
  }
  write_detections(folder_ / "d.json", {});
  EXPECT_TRUE(read_detections(folder_ / "d.json").empty());
  const std::vector<CocoDetection> bad{{1, 1, 0, 0, 1, std::numeric_limits<double>::infinity(), 1}};
  EXPECT_THROW(write_detections(folder_ / "bad.json", bad), Error);
  EXPECT_FALSE(std::filesystem::exists(folder_ / "bad.json"));
}

TEST_F(DetectionsJson, ReadsAnyKeyOrderAndIgnoresOtherKeys) {
  const auto found =
      read(R"( [ {"score": 1, "bbox": [1, 2.5, 3e1, 4], "segmentation": [[1,2],["]}"]],
      "category_id": 3, "image_id": 4, "note": "a \"quoted\" ] } name"} ] )");
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(found[0].width, 30);
  EXPECT_EQ(found[0].score, 1);
}

TEST_F(DetectionsJson, CategoriesOutOfRangeAreUnknown) {
  EXPECT_EQ(read(R"([{"image_id":1,"category_id":99999999999,"bbox":[1,2,3,4],"score":1}])")[0]
                .category_id,
            -1);
}

TEST_F(DetectionsJson, MalformedFilesSayWhere) {
  using testing::HasSubstr;
  const std::string good = R"({"image_id":1,"category_id":1,"bbox":[1,2,3,4],"score":0.5})";
  EXPECT_THAT(message(""), HasSubstr("ends at byte 0"));
  EXPECT_THAT(message("{}"), HasSubstr("not an array"));
  EXPECT_THAT(message("[" + good), HasSubstr("inside an array"));
  EXPECT_THAT(message("[" + good + "," + good.substr(0, 20)), HasSubstr("inside a value"));
  EXPECT_THAT(message("[" + good + ",]"), HasSubstr("expected a value"));
  EXPECT_THAT(message("[" + good + good + "]"), HasSubstr("byte 60: expected ','"));
  EXPECT_THAT(message("[" + good + "] x"), HasSubstr("after the end"));
  EXPECT_THAT(message("[" + good + R"(,{"image_id":1}])"), HasSubstr("[1], near byte"));
  EXPECT_THAT(message("[" + good + R"(,{"image_id":1}])"), HasSubstr("'bbox'"));
  EXPECT_THAT(message(R"([{"image_id":"a"}])"), HasSubstr("'image_id'"));
  EXPECT_THAT(message(R"([{"image_id":1.5}])"), HasSubstr("'image_id'"));
  EXPECT_THAT(message(R"([{"bbox":[1,2,3]}])"), HasSubstr("3 numbers instead of 4"));
  EXPECT_THAT(message(R"([{"bbox":[1,2,3,4,5]}])"), HasSubstr("more than 4"));
  EXPECT_THAT(message(R"([{"bbox":[1,2,3,1e999]}])"), HasSubstr("'bbox'"));
  EXPECT_THAT(message(R"([{"score":nan}])"), HasSubstr("'score'"));
  EXPECT_THAT(message("[1,2]"), HasSubstr("[0]"));
  EXPECT_THAT(message("[{\"image_id\" 1}]"), HasSubstr("[0]"));
  EXPECT_THAT(message("[{\"a\":\"\xFF\"}]"), HasSubstr("[0]"));
}

// Nothing but Error may leave the reader, whatever is flipped or cut.
TEST_F(DetectionsJson, SurvivesCorruption) {
  std::string text = "[";
  for (int i = 0; i < 5; ++i) {
    text += (i > 0 ? "," : "") +
            std::string(R"({"image_id":1,"category_id":1,"bbox":[1,2.25,3,4],"score":0.5})");
  }
  text += "]";
  size_t refused = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    for (const char flip : {'\x01', '\x20', '\x40', '\x7F'}) {
      std::string broken = text;
      broken[i] = static_cast<char>(broken[i] ^ flip);
      try {
        read(broken);
      } catch (const Error&) {
        ++refused;
      }
    }
    EXPECT_THROW(read(text.substr(0, i)), Error) << i;
  }
  EXPECT_GT(refused, text.size());
}

}  // namespace
}  // namespace yoloquant::eval

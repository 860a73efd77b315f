#include "data/yolo_labels.h"

#include <gmock/gmock.h>

#include "base/error.h"
#include "support/error_of.h"

namespace yoloquant::data {
namespace {

using testing::HasSubstr;

std::string message(std::string_view text, int classes = 3) {
  return test::error_of([&] { parse_yolo_labels(text, classes); });
}

TEST(YoloLabels, RowsWithMarkEmptyLinesAndDuplicates) {
  const YoloLabels read = parse_yolo_labels(
      "\xEF\xBB\xBF"
      "2 0.5 0.25 .1 1\r\n\n  0.0\t+1e-1 0.2  0.3 0.4  \n2 .5 .25 0.10 1.0\n1 0.5 0.25 .1 1",
      3);
  EXPECT_EQ(read.labels,
            (std::vector<YoloLabel>{
                {2, 0.5, 0.25, 0.1, 1}, {0, 0.1, 0.2, 0.3, 0.4}, {1, 0.5, 0.25, 0.1, 1}}));
  EXPECT_EQ(read.duplicates, 1U);
  EXPECT_TRUE(parse_yolo_labels("\n \n", 3).labels.empty());
}

TEST(YoloLabels, PolygonsBecomeTheirBoxes) {
  const YoloLabels read =
      parse_yolo_labels("1 0.25 0.5 0.75 0.625 0.5 0.125\n0 0 0 .5 0 .5 .5 0 .5\n", 3);
  EXPECT_EQ(read.labels,
            (std::vector<YoloLabel>{{1, 0.5, 0.375, 0.5, 0.5}, {0, .25, .25, .5, .5}}));
}

TEST(YoloLabels, TwoPolygonsWithOneBoxAreKept) {
  const YoloLabels read = parse_yolo_labels("0 0 0 1 0 1 1\n0 0 0 1 1 0 1\n", 1);
  EXPECT_EQ(read.labels.size(), 2U);
  EXPECT_EQ(read.duplicates, 0U);
}

TEST(YoloLabels, WhatMakesNoSenseIsNamedWithItsLine) {
  EXPECT_EQ(message("0 .5 .5 .1 .1\n\n3 .5 .5 .1 .1\n"), "line 3: class 3 is not in 0..2");
  EXPECT_THAT(message("-1 .5 .5 .1 .1"), HasSubstr("line 1: class -1 is not"));
  EXPECT_THAT(message("0.5 .5 .5 .1 .1"), HasSubstr("class 0.5 is no integer"));
  EXPECT_THAT(message("0 .5 .5 .1"), HasSubstr("4 values instead of 5"));
  EXPECT_THAT(message("0 .5 .5 .1 .1 .9"), HasSubstr("6 values instead of 5"));
  EXPECT_THAT(message("0 .5 .5 12 .1"), HasSubstr("12 is above 1"));
  EXPECT_THAT(message("0 .5 -.2 .1 .1"), HasSubstr("-0.2 is negative"));
  EXPECT_THAT(message("0 .5 .5 -.005 .1"), HasSubstr("negative size"));
  EXPECT_THAT(message("0 .5 nan .1 .1"), HasSubstr("'nan' is no number"));
  EXPECT_THAT(message("0 .5 1e999 .1 .1"), HasSubstr("is no number"));
  EXPECT_THAT(message("0 .5 0x1 .1 .1"), HasSubstr("'0x1' is no number"));
  EXPECT_THAT(message("\xFF\xD8 binary"), HasSubstr("line 1: "));
  EXPECT_THAT(message("0 0 0 1 0 1 1\n0 .5 .5 .1 .1"), HasSubstr("line 2: a box among polygons"));
  EXPECT_THAT(message("0 0 0 1 0 1 1 1"), HasSubstr("no polygon"));
}

TEST(YoloLabels, ALittleOutsideIsTaken) {
  EXPECT_EQ(parse_yolo_labels("0 -0.009 1.009 .1 .1", 1).labels.size(), 1U);
}

TEST(YoloLabels, WrittenLabelsComeBackToTheBit) {
  const std::vector<YoloLabel> labels{{0, 1.0 / 3, 2.0 / 7, 1e-7, 1}, {79, 0.1, 0.2, 0.3, 0.7}};
  EXPECT_EQ(parse_yolo_labels(format_yolo_labels(labels), 80).labels, labels);
}

TEST(LabelPath, LastImagesFolderBecomesLabels) {
  EXPECT_EQ(label_path("/images/a/images/train/7.b.jpg"), "/images/a/labels/train/7.b.txt");
  EXPECT_EQ(label_path("/a/myimages/7.png"), "/a/myimages/7.txt");
}

}  // namespace
}  // namespace yoloquant::data

#include "report/training_curves.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "base/file.h"
#include "data/image.h"
#include "report/picture_svg.h"
#include "report/training_records.h"
#include "support/temporary_folder.h"

namespace yoloquant::report {
namespace {

using testing::HasSubstr;
using testing::Not;

std::vector<EpochRecord> epoch_records(int64_t count) {
  std::vector<EpochRecord> records;
  for (int64_t epoch = 0; epoch < count; ++epoch) records.push_back(test::epoch_record(epoch));
  return records;
}

size_t occurrences(const std::string& text, const std::string& part) {
  size_t count = 0;
  for (size_t at = 0; (at = text.find(part, at)) != std::string::npos; ++at) ++count;
  return count;
}

TEST(Chart, TicksAreRoundAndCover) {
  const auto expect = [](Ticks ticks, double low, double high, double step) {
    EXPECT_NEAR(ticks.low, low, 1e-9);
    EXPECT_NEAR(ticks.high, high, 1e-9);
    EXPECT_NEAR(ticks.step, step, 1e-9);
  };
  expect(make_ticks(0, 1, 4), 0, 1, 0.5);
  expect(make_ticks(0.13, 0.98, 4), 0, 1, 0.5);
  expect(make_ticks(-3, 12, 5), -5, 15, 5);
  expect(make_ticks(0, 0.0104, 4), 0, 0.015, 0.005);
  expect(make_ticks(0, 0, 4), 0, 1, 0.5);
  const Ticks constant = make_ticks(5, 5, 4);
  EXPECT_LT(constant.low, 5);
  EXPECT_GT(constant.high, 5);
}

TEST(Chart, ABreakInTheLineAndALonelyPoint) {
  Chart chart{.title = "a & b", .x_label = "epoch", .series = {}};
  Series series{.name = "train", .points = {}};
  for (int i = 0; i < 100; ++i) {
    series.points.push_back({double(i), i == 10 || i == 12 ? std::nan("") : 1.0 + i});
  }
  chart.series.push_back(series);
  const std::string svg = picture_svg(draw_charts("t", {&chart, 1}, 1));
  EXPECT_EQ(occurrences(svg, "<circle"), 1U);  // point 11
  EXPECT_EQ(occurrences(svg, "stroke-width=\"1.5\""), 2U);
  EXPECT_THAT(svg, HasSubstr("a &amp; b"));
  EXPECT_THAT(svg, Not(HasSubstr("nan")));
}

TEST(Chart, WithoutValuesItSaysSo) {
  Chart chart{.title = "val", .x_label = "epoch", .series = {Series{.name = "val", .points = {}}}};
  EXPECT_THAT(picture_svg(draw_charts("t", {&chart, 1}, 1)), HasSubstr(">no values<"));
  chart.series[0].points = {{1, std::nan("")}, {2, HUGE_VAL}, {3, -1e35}};
  EXPECT_THAT(picture_svg(draw_charts("t", {&chart, 1}, 1)), HasSubstr(">no values<"));
}

TEST(TrainingCurves, ShowEachColumnOnce) {
  const auto records = epoch_records(3);
  std::set<double> last;
  size_t series_count = 0;
  for (const Chart& chart : training_charts(records)) {
    for (const Series& series : chart.series) {
      ++series_count;
      ASSERT_EQ(series.points.size(), 3U) << chart.title << " " << series.name;
      EXPECT_EQ(series.points[0].x, 1);
      last.insert(series.points[2].y);
    }
  }
  EXPECT_EQ(series_count, named_values({}).size());
  std::set<double> expected;
  for (const auto& [name, value] : named_values(records[2])) expected.insert(value.value());
  EXPECT_EQ(last, expected);
}

TEST(TrainingCurves, EpochsWithoutValidationAreLeftOut) {
  auto records = epoch_records(2);
  records.push_back(test::blind_epoch_record(2));
  const auto charts = training_charts(records);
  EXPECT_EQ(charts[0].series[0].points.size(), 3U);
  EXPECT_EQ(charts[0].series[1].points.size(), 2U);
  EXPECT_EQ(charts[7].series[1].points.size(), 2U);
}

TEST(TrainingCurves, AreWrittenAsSvgAndPng) {
  const yoloquant::test::TemporaryFolder folder;
  const auto records = epoch_records(100);
  write_training_curves(folder / "results", records);
  const std::string svg = read_file(folder / "results.svg");
  EXPECT_THAT(svg, HasSubstr("100 epochs, best mAP50-95 0.4965 in epoch 100"));
  EXPECT_THAT(svg, HasSubstr(">box loss, one2many<"));
  EXPECT_THAT(svg, HasSubstr(">learning rate<"));
  const data::Image image = data::read_image(folder / "results.png");
  EXPECT_EQ(image.width, 2400);
  EXPECT_EQ(image.height, 2 * (44 + 3 * 260));
  write_training_curves(folder / "one", epoch_records(1));
  EXPECT_THAT(read_file(folder / "one.svg"), HasSubstr(">1 epoch, best mAP50-95 0.0000"));
  write_training_curves(folder / "empty", {});
  EXPECT_THAT(read_file(folder / "empty.svg"), HasSubstr(">0 epochs<"));
}

}  // namespace
}  // namespace yoloquant::report

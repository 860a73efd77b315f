#include "report/sensitivity.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "report/svg.h"

namespace yoloquant::report {
namespace {

using testing::HasSubstr;
using testing::Not;

SensitivityRow row(const std::string& name, const std::string& part, int bits, double harm) {
  SensitivityRow result;
  result.name = name;
  result.part = part;
  result.bits = bits;
  result.weights = 100;
  result.harm = harm;
  result.errors = {harm, harm / 2};
  result.fidelity = 1 - harm / 10;
  return result;
}

SensitivityReport sample() {
  SensitivityReport report;
  report.model = "m<n>";
  report.head = "one2many";
  report.image_size = "640 x 640";
  report.images = 8;
  report.error_names = {"boxes", "classes"};
  report.rows = {row("model.0.conv", "weights", 4, 0.5), row("model.0.conv", "weights", 8, 0.4),
                 row("model.1.conv", "weights", 4, 0.9), row("model.1.conv", "weights", 8, 0.01),
                 row("model.0.conv", "activations", 4, 0.7)};
  SensitivityRow block = row("model", "weights", 4, 2);
  block.block = true;
  report.rows.push_back(block);
  return report;
}

TEST(SensitivityReport, RanksByHarmAtFourBits) {
  const SensitivityReport report = sample();
  const auto lines = ranked_lines(report);
  ASSERT_EQ(lines.size(), 4U);
  EXPECT_EQ(lines[0].name, "model");
  EXPECT_EQ(lines[1].name, "model.1.conv");
  EXPECT_EQ(lines[2].part, "activations");
  EXPECT_EQ(lines[3].by_bits.size(), 2U);
  const auto table = worst_table(report, 2);
  ASSERT_EQ(table.size(), 3U);
  EXPECT_EQ(table[0],
            (std::vector<std::string>{"layer", "part", "weights", "harm 4", "harm 8", "fidelity"}));
  EXPECT_EQ(table[1],
            (std::vector<std::string>{"model.1.conv", "weights", "100", "0.9", "0.01", "0.9100"}));
  EXPECT_EQ(table[2][4], "-");
}

TEST(SensitivityReport, RaisedLayersAreRankedByGain) {
  SensitivityReport report = sample();
  report.base = "w4a16 gptq";
  report.base_harm = 1;
  report.rows = {row("a", "weights", 0, 0.9), row("a", "weights", 8, 0.95),
                 row("b", "weights", 0, 0.2), row("b", "weights", 8, 0.99)};
  for (SensitivityRow& r : report.rows) r.gain = 1 - r.harm;
  EXPECT_EQ(ranked_lines(report)[0].name, "b");
  EXPECT_EQ(worst_table(report, 9)[0][4], "gain float");
  EXPECT_THAT(sensitivity_markdown(report), HasSubstr("w4a16 gptq"));
}

TEST(SensitivityReport, WritesWhatWasMeasured) {
  const SensitivityReport report = sample();
  const auto json = sensitivity_json(report);
  ASSERT_EQ(json.at("measurements").size(), 6U);
  EXPECT_EQ(json["measurements"][0]["errors"]["classes"], 0.25);
  EXPECT_EQ(json["measurements"][5]["kind"], "block");
  EXPECT_TRUE(json["base_harm"].is_null());
  const std::string csv = sensitivity_csv(report);
  EXPECT_EQ(std::count(csv.begin(), csv.end(), '\n'), 7);
  EXPECT_THAT(csv, HasSubstr("\nmodel.1.conv,conv,weights,8,100,0.01,,0,0,0.01,0.005,0.9990,\n"));
  const std::string markdown = sensitivity_markdown(report);
  EXPECT_THAT(markdown, HasSubstr("## Blocks"));
  const std::string svg = sensitivity_svg(report);
  EXPECT_THAT(svg, HasSubstr("m&lt;n&gt;"));
  EXPECT_THAT(svg, HasSubstr("model.1.conv"));
  // Five measurements of convs, two entries of the legend.
  size_t circles = 0;
  for (size_t at = svg.find("<circle"); at != std::string::npos; at = svg.find("<circle", at + 1)) {
    ++circles;
  }
  EXPECT_EQ(circles, 7U);
}

TEST(SensitivityReport, AllocationsAreDrawnWithTheChosenOne) {
  const std::string svg = bit_allocation_svg({"m",
                                              {{3, 2, ""}, {4, 0.5, ""}, {8, 0, ""}},
                                              {{4, 0.9, "4 bits"}},
                                              {4.5, 0.3, "chosen: 4.50"}});
  EXPECT_THAT(svg, HasSubstr("chosen: 4.50"));
  EXPECT_THAT(svg, HasSubstr("4 bits"));
  EXPECT_THAT(svg, Not(HasSubstr("nan")));
}

TEST(LogAxis, GoesByPowersOfTen) {
  const LogAxis axis(0.02, 30, 100, 500);
  EXPECT_DOUBLE_EQ(axis.y(0.01), 500);
  EXPECT_DOUBLE_EQ(axis.y(1), 300);
  EXPECT_DOUBLE_EQ(axis.y(100), 100);
  EXPECT_DOUBLE_EQ(axis.y(0), 500);
  EXPECT_DOUBLE_EQ(LogAxis(0, 0, 0, 60).y(1), 0);
}

}  // namespace
}  // namespace yoloquant::report

#include "report/summary.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "report/markdown.h"

namespace yoloquant::report {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

Variant baseline() {
  Variant v;
  v.name = "fp32";
  v.onnx = "onnx/m_fp32.onnx";
  v.check = "onnx/m_fp32.check.json";
  v.metrics = "metrics/fp32/metrics.json";
  v.file_bytes = 9'000'000;
  v.map_50_95 = 0.4608;
  v.map_50 = 0.627;
  v.map_interval = Interval{0.4608, 0.42, 0.55};
  v.latency = VariantLatency{20, 19.5, 22, {1, 1, 1}};
  v.provider = "CPUExecutionProvider";
  return v;
}

Variant quantized() {
  Variant v = baseline();
  v.name = "w8a8";
  v.method = "nearest";
  v.onnx = "onnx/m_w8a8.onnx";
  v.quantize = "onnx/m_w8a8.quantize.json";
  v.metrics = "metrics/w8a8/metrics.json";
  v.file_bytes = 2'400'000;
  v.op_counts = {{"QuantizeLinear", 84}, {"DequantizeLinear", 168}, {"Clip", 84}};
  v.map_50_95 = 0.4597;
  v.difference = Interval{-0.0011, -0.004, 0.002};
  v.fidelity = 0.913;
  v.fidelity_interval = Interval{0.913, 0.88, 0.94};
  v.latency = VariantLatency{15, 14.5, 17, {0.75, 0.7, 0.8}};
  v.verification = VariantVerification{31.5, 0.065, 0.06, 9e-7};
  return v;
}

RunSummary summary() {
  RunSummary s;
  s.title = "yolov10n";
  s.model = "yolov10n.pt";
  s.data = "coco, val2017";
  s.image_count = 50;
  s.head = "one2many";
  s.image_size = "640 x 640";
  s.hardware = "a CPU";
  s.variants = {baseline(), quantized()};
  s.stages = {{"export fp32", 0.5, true}, {"quantize w8a8", 61.0, false}};
  s.files = {{"differences", "metrics/differences.json"}, {"chart", "summary.svg"}};
  return s;
}

// Cells of the row that starts with `name` in the table that has a column `column`.
std::string cell(const std::string& text, const std::string& name, const std::string& column) {
  const auto cells = [](const std::string& line) {
    std::vector<std::string> result;
    size_t start = 1;
    for (size_t end; (end = line.find('|', start)) != std::string::npos; start = end + 1) {
      std::string one = line.substr(start, end - start);
      one.erase(0, one.find_first_not_of(' '));
      one.erase(one.find_last_not_of(' ') + 1);
      result.push_back(one);
    }
    return result;
  };
  std::istringstream lines(text);
  std::vector<std::string> header;
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with("|")) {
      header.clear();
      continue;
    }
    const auto row = cells(line);
    if (header.empty()) header = row;
    const auto at = std::find(header.begin(), header.end(), column);
    if (at != header.end() && row[0] == name) return row[static_cast<size_t>(at - header.begin())];
  }
  return "(no such cell)";
}

TEST(SummaryMarkdown, ShowsEachFigureAndItsFile) {
  const std::string text = summary_markdown(summary());
  EXPECT_EQ(cell(text, "fp32", "mAP50-95"), "0.4608");
  EXPECT_EQ(cell(text, "w8a8", "mAP50-95"), "0.4597");
  EXPECT_EQ(cell(text, "w8a8", "method"), "nearest");
  EXPECT_EQ(cell(text, "w8a8", "difference [95 % interval]"), "-0.0011 [-0.0040, +0.0020]");
  EXPECT_EQ(cell(text, "fp32", "difference [95 % interval]"), "-");
  EXPECT_EQ(cell(text, "w8a8", "fidelity [95 % interval]"), "0.9130 [0.8800, 0.9400]");
  EXPECT_EQ(cell(text, "fp32", "fidelity [95 % interval]"), "-");
  EXPECT_EQ(cell(text, "w8a8", "from"), "[metrics/w8a8/metrics.json](metrics/w8a8/metrics.json)");
  EXPECT_EQ(cell(text, "w8a8", "mean ms"), "15.00");
  EXPECT_EQ(cell(text, "w8a8", "time / baseline [95 %]"), "0.75 [0.70, 0.80]");
  EXPECT_EQ(cell(text, "w8a8", "size / baseline"), "0.27");
  EXPECT_EQ(cell(text, "w8a8", "Q / DQ / Clip"), "84 / 168 / 84");
  EXPECT_EQ(cell(text, "fp32", "Q / DQ / Clip"), "0 / 0 / 0");
  EXPECT_EQ(cell(text, "w8a8", "worst conv"), "9.0e-07");
  EXPECT_EQ(cell(text, "w8a8", "provider"), "CPUExecutionProvider");
  EXPECT_EQ(cell(text, "quantize w8a8", "time"), "1 min 1 s");
  EXPECT_THAT(text, HasSubstr("metrics/differences.json"));
  EXPECT_THAT(text, HasSubstr("![mAP, fidelity and file size](summary.svg)"));
  EXPECT_THAT(text, HasSubstr("50 images"));
}

TEST(SummaryMarkdown, SaysWhatATrainingGained) {
  RunSummary s = summary();
  EXPECT_THAT(summary_markdown(s), Not(HasSubstr("Training")));
  s.variants.push_back(quantized());
  s.variants[2].name = "w8a8_qat";
  s.variants[2].trained_from = "w8a8";
  s.variants[2].gain = Interval{0.0042, -0.001, 0.009};
  EXPECT_THAT(summary_markdown(s), HasSubstr("Training w8a8 to w8a8_qat changed mAP50-95 by "
                                             "+0.0042 [-0.0010, +0.0090].\n"));
  const auto json = summary_json(s);
  EXPECT_EQ(json["variants"][2]["trained_from"], "w8a8");
  EXPECT_EQ(json["variants"][2]["gain"]["high"], 0.009);
  EXPECT_FALSE(json["variants"][1].contains("gain"));
}

TEST(SummaryMarkdown, WarningsComeFirst) {
  RunSummary s = summary();
  EXPECT_TRUE(summary_markdown(s).starts_with("# yolov10n"));
  s.warnings = {"random weights", "no images"};
  const std::string text = summary_markdown(s);
  EXPECT_TRUE(text.starts_with("> **Warning:** random weights\n>\n> **Warning:** no images\n\n# "))
      << text.substr(0, 100);
}

TEST(SummaryMarkdown, MissingFiguresAreDashes) {
  RunSummary s = summary();
  s.variants[1].latency.reset();
  s.variants[1].difference.reset();
  s.variants[1].verification.reset();
  s.variants[1].fidelity_interval.reset();
  s.variants[1].map_50 = -1;
  const std::string text = summary_markdown(s);
  EXPECT_EQ(cell(text, "w8a8", "mean ms"), "-");
  EXPECT_EQ(cell(text, "w8a8", "mAP50"), "-");
  EXPECT_EQ(cell(text, "w8a8", "runtime - simulator"), "-");
  EXPECT_EQ(cell(text, "w8a8", "fidelity [95 % interval]"), "0.9130");
  EXPECT_THAT(summary_markdown(RunSummary{}), HasSubstr("model:"));
}

TEST(Findings, NothingToSayOfAGoodResult) { EXPECT_THAT(findings(summary()), IsEmpty()); }

TEST(Findings, CollapseNamesTheCureForItsBits) {
  RunSummary s = summary();
  s.variants[1].map_50_95 = 0.41;
  EXPECT_THAT(findings(s), testing::ElementsAre(testing::AllOf(HasSubstr("w8a8 loses 0.0508"),
                                                               HasSubstr("calibration images"))));
  s.variants[1].name = "w4a8";
  EXPECT_THAT(findings(s), Contains(HasSubstr("4-bit weights")));
  s.variants[1].map_50_95 = 0.4110;  // .0498: within bounds
  EXPECT_THAT(findings(s), IsEmpty());
}

TEST(Findings, SlowerOnlyWhenBeyondDoubt) {
  RunSummary s = summary();
  s.variants[1].latency->ratio = {1.1, 0.98, 1.2};
  EXPECT_THAT(findings(s), IsEmpty());
  s.variants[1].latency->ratio = {1.1, 1.02, 1.2};
  EXPECT_THAT(findings(s), Contains(HasSubstr("slower than fp32 (1.10 times")));
}

TEST(Findings, FilesThatDidNotShrink) {
  RunSummary s = summary();
  s.variants[1].file_bytes = s.variants[0].file_bytes;
  EXPECT_THAT(findings(s), Contains(HasSubstr("no smaller")));
}

TEST(Findings, ABaselineThatDetectsNothingIsSaid) {
  RunSummary s = summary();
  s.variants[0].map_50_95 = 0.002;
  s.variants[1].map_50_95 = 0;
  EXPECT_THAT(findings(s), testing::ElementsAre(HasSubstr("say nothing about quantization")));
}

TEST(SummaryJson, HasTheFigures) {
  const auto json = summary_json(summary());
  EXPECT_EQ(json["variants"][1]["mAP_50_95"], 0.4597);
  EXPECT_EQ(json["variants"][1]["difference"]["low"], -0.004);
  EXPECT_EQ(json["variants"][1]["fidelity"], 0.913);
  EXPECT_EQ(json["variants"][1]["fidelity_interval"]["high"], 0.94);
  EXPECT_FALSE(json["variants"][0].contains("fidelity"));
  EXPECT_EQ(json["variants"][1]["latency"]["ratio"]["estimate"], 0.75);
  EXPECT_FALSE(json["variants"][0].contains("difference"));
  EXPECT_EQ(json["stages"][0]["skipped"], true);
}

TEST(SummarySvg, HasABarForEachVariant) {
  RunSummary s = summary();
  s.title = "a<b & \"c\"";
  const std::string svg = summary_svg(s);
  EXPECT_TRUE(svg.starts_with("<svg "));
  EXPECT_TRUE(svg.ends_with("</svg>\n"));
  EXPECT_THAT(svg, HasSubstr("a&lt;b &amp; &quot;c&quot;"));
  EXPECT_THAT(svg, Not(HasSubstr("a<b")));
  EXPECT_THAT(svg, HasSubstr(">0.4597<"));
  EXPECT_THAT(svg, HasSubstr(">8.6 MiB<"));
  size_t bars = 0;
  for (size_t at = 0; (at = svg.find("<rect x", at)) != std::string::npos; ++at) ++bars;
  EXPECT_EQ(bars, 6U);
  EXPECT_THAT(svg, HasSubstr(">fidelity<"));
  s.variants[1].fidelity = -1;
  EXPECT_THAT(summary_svg(s), Not(HasSubstr(">fidelity<")));
}

TEST(Table, EscapesAndPads) {
  Table table({"a", "b"});
  table.add({"x|y", "line\nbreak"});
  EXPECT_EQ(table.markdown(),
            "| a    | b          |\n|------|------------|\n| x\\|y | line break |\n");
  EXPECT_THROW(table.add({"only one"}), Error);
}

}  // namespace
}  // namespace yoloquant::report

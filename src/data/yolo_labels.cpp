#include "data/yolo_labels.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <set>

#include "base/error.h"

namespace yoloquant::data {
namespace {

constexpr size_t kBoxValues = 5;
constexpr size_t kMaxRows = 100000;
// Rounded labels of boxes at the border may lie a little outside.
constexpr double kTolerance = 0.01;

struct Row {
  size_t line = 0;
  std::vector<double> values;
};

std::string_view without_bom(std::string_view text) {
  constexpr std::string_view kBom = "\xEF\xBB\xBF";
  if (text.starts_with(kBom)) text.remove_prefix(kBom.size());
  return text;
}

double parse_number(std::string_view word) {
  const std::string_view digits = word.starts_with('+') ? word.substr(1) : word;
  double value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (error != std::errc() || end != digits.data() + digits.size() || !std::isfinite(value)) {
    fail("'{}' is no number", word.substr(0, 40));
  }
  return value;
}

std::vector<double> parse_row(std::string_view line) {
  constexpr std::string_view kSpace = " \t\r\v\f";
  std::vector<double> values;
  while (true) {
    const size_t begin = line.find_first_not_of(kSpace);
    if (begin == std::string_view::npos) return values;
    const size_t end = std::min(line.find_first_of(kSpace, begin), line.size());
    values.push_back(parse_number(line.substr(begin, end - begin)));
    line.remove_prefix(end);
  }
}

template <typename Body>
auto on_line(size_t line, Body&& body) {
  return with_context(fmt::format("line {}", line), std::forward<Body>(body));
}

std::vector<Row> parse_rows(std::string_view text) {
  std::vector<Row> rows;
  for (size_t line = 1; !text.empty(); ++line) {
    const size_t end = std::min(text.find('\n'), text.size());
    std::vector<double> values = on_line(line, [&] { return parse_row(text.substr(0, end)); });
    if (!values.empty()) rows.push_back({line, std::move(values)});
    if (rows.size() > kMaxRows) fail("line {}: more than {} objects", line, kMaxRows);
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return rows;
}

YoloLabel polygon_box(const std::vector<double>& values) {
  if (values.size() == kBoxValues) fail("a box among polygons: a file has either");
  if (values.size() < 7 || values.size() % 2 == 0) {
    fail("{} values are no polygon: class and at least 3 points", values.size());
  }
  YoloLabel label;
  double low[2] = {values[1], values[2]};
  double high[2] = {values[1], values[2]};
  for (size_t i = 3; i < values.size(); ++i) {
    const size_t axis = (i + 1) % 2;
    low[axis] = std::min(low[axis], values[i]);
    high[axis] = std::max(high[axis], values[i]);
  }
  label.x = (low[0] + high[0]) / 2;
  label.y = (low[1] + high[1]) / 2;
  label.width = high[0] - low[0];
  label.height = high[1] - low[1];
  return label;
}

YoloLabel plain_box(const std::vector<double>& values) {
  if (values.size() != kBoxValues) {
    fail("{} values instead of 5: class, x, y, width, height", values.size());
  }
  return {.x = values[1], .y = values[2], .width = values[3], .height = values[4]};
}

int checked_class(double value, int classes) {
  if (value != std::floor(value)) fail("class {} is no integer", value);
  if (value < 0 || value >= classes) fail("class {} is not in 0..{}", value, classes - 1);
  return static_cast<int>(value);
}

void check_box(const YoloLabel& label) {
  const double most = std::max({label.x, label.y, label.width, label.height});
  if (most > 1 + kTolerance) fail("{} is above 1: coordinates are parts of the image's size", most);
  if (label.width < 0 || label.height < 0) fail("a negative size");
  const double least = std::min(label.x, label.y);
  if (least < -kTolerance) fail("{} is negative: the centre lies outside of the image", least);
}

}  // namespace

YoloLabels parse_yolo_labels(std::string_view text, int classes) {
  const std::vector<Row> rows = parse_rows(without_bom(text));
  const bool polygons =
      std::ranges::any_of(rows, [](const Row& row) { return row.values.size() > kBoxValues + 1; });
  YoloLabels result;
  std::set<std::vector<double>> seen;  // whole rows: two polygons may have one box
  for (const Row& row : rows) {
    on_line(row.line, [&] {
      YoloLabel label = polygons ? polygon_box(row.values) : plain_box(row.values);
      label.class_id = checked_class(row.values[0], classes);
      check_box(label);
      if (seen.insert(row.values).second) {
        result.labels.push_back(label);
      } else {
        ++result.duplicates;
      }
    });
  }
  return result;
}

std::string format_yolo_labels(std::span<const YoloLabel> labels) {
  std::string text;
  for (const YoloLabel& label : labels) {
    fmt::format_to(std::back_inserter(text), "{} {} {} {} {}\n", label.class_id, label.x, label.y,
                   label.width, label.height);
  }
  return text;
}

std::filesystem::path label_path(const std::filesystem::path& image) {
  constexpr std::string_view kImages = "/images/";
  std::filesystem::path labels = image;
  labels.replace_extension(".txt");
  std::string text = labels.string();
  const size_t at = text.rfind(kImages);
  if (at == std::string::npos) return labels;
  return text.replace(at, kImages.size(), "/labels/");
}

}  // namespace yoloquant::data

#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace yoloquant::data {

// A labelled object: box centre and size as parts of the image's width and height.
struct YoloLabel {
  int class_id = 0;
  double x = 0;
  double y = 0;
  double width = 0;
  double height = 0;

  bool operator==(const YoloLabel&) const = default;
};

struct YoloLabels {
  std::vector<YoloLabel> labels;
  size_t duplicates = 0;  // equal rows that were dropped
};

// Reads the text of a YOLO label file: a row "class x y width height" an object, or, when a row has
// more than 6 values, "class x1 y1 x2 y2 ..." (a polygon) in all of them, of which the enclosing
// box is kept. A byte order mark and empty lines are skipped, equal rows are kept once. Throws
// Error "line N: ..." for what Ultralytics' verify_image_label (8.4) refuses: another number of
// values, text that is no number, a class that is no integer in [0, classes), a value above 1.01, a
// centre below -.01, a negative size, boxes and polygons in one file.
YoloLabels parse_yolo_labels(std::string_view text, int classes);

// As parse_yolo_labels reads it back, to the bit.
std::string format_yolo_labels(std::span<const YoloLabel> labels);

// Where the labels of an image are: the last folder "images" of the path becomes "labels", the
// extension .txt (Ultralytics' img2label_paths). A path without such a folder keeps its folder.
std::filesystem::path label_path(const std::filesystem::path& image);

}  // namespace yoloquant::data

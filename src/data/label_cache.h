#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <unordered_map>
#include <vector>

#include "data/yolo_labels.h"

namespace yoloquant::data {

// What tells that a file may have changed. Links are followed.
struct FileStamp {
  int64_t size = -1;        // bytes; -1: there is no file
  int64_t modified_ns = 0;  // of the file system's clock

  bool exists() const { return size >= 0; }
  bool operator==(const FileStamp&) const = default;
};

FileStamp stamp_of(const std::filesystem::path& path);

// All that reading an image and its label file gave.
struct LabelRecord {
  FileStamp image_stamp;
  FileStamp label_stamp;
  std::string image_sha256;  // "" when the file could not be read
  std::string label_sha256;  // "" when there is none
  int width = 0;             // pixels, as decoded
  int height = 0;
  uint32_t duplicates = 0;
  std::string problem;  // one line; "" when image and labels are good
  std::vector<YoloLabel> labels;

  bool operator==(const LabelRecord&) const = default;
};

// By image path.
using LabelRecords = std::unordered_map<std::string, LabelRecord>;

// Records of labels that were read for `classes` classes. A file that is missing, damaged, of
// another version or of another number of classes is no error: it gives no records. The format is
// described in docs/formats.md.
LabelRecords read_label_cache(const std::filesystem::path& path, int classes);
void write_label_cache(const std::filesystem::path& path, int classes, const LabelRecords& records);

}  // namespace yoloquant::data

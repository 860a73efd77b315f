#include "data/label_scan.h"

#include <algorithm>
#include <atomic>
#include <set>

#include "base/error.h"
#include "base/file.h"
#include "base/parallel.h"
#include "data/image.h"
#include "data/label_cache.h"

namespace yoloquant::data {
namespace {

namespace fs = std::filesystem;

constexpr int kMinSide = 10;
constexpr size_t kBlock = 256;  // images between two reports of progress
constexpr size_t kMaxLabelBytes = size_t{64} << 20;

void read_labels(const fs::path& path, int classes, LabelRecord& record) {
  with_context(path.string(), [&] {
    if (record.label_stamp.size > static_cast<int64_t>(kMaxLabelBytes)) {
      fail("{} bytes are too many for a label file", record.label_stamp.size);
    }
    const std::string text = read_file(path);
    record.label_sha256 = sha256(text);
    YoloLabels parsed = parse_yolo_labels(text, classes);
    record.labels = std::move(parsed.labels);
    record.duplicates = static_cast<uint32_t>(parsed.duplicates);
  });
}

void read_size(const fs::path& path, LabelRecord& record) {
  const std::string file = read_file(path);
  record.image_sha256 = sha256(file);
  const Image image = decode_image(std::as_bytes(std::span(file)), path.string());
  record.width = image.width;
  record.height = image.height;
  if (std::min(image.width, image.height) < kMinSide) {
    fail("{}: a side of {}x{} pixels is below {}", path.string(), image.width, image.height,
         kMinSide);
  }
}

void read_record(const fs::path& image, const fs::path& label, int classes, LabelRecord& record) {
  try {
    read_size(image, record);
    if (record.label_stamp.exists()) read_labels(label, classes, record);
  } catch (const Error& error) {
    record.labels.clear();
    record.problem = error.what();
  }
}

void add_record(const fs::path& image, const LabelRecord& record, LabelScan& scan,
                std::string& digests) {
  scan.images.push_back({image, record.width, record.height, record.labels});
  if (!record.label_stamp.exists()) ++scan.without_label_file;
  if (record.labels.empty()) ++scan.without_objects;
  scan.duplicates += record.duplicates;
  digests += record.image_sha256 + ' ' + record.label_sha256 + '\n';
}

// Reads the records of all images, or takes them from the cache; gives the number of those taken.
size_t fill_records(const ImageList& images, int classes, const ScanOptions& options,
                    const LabelRecords& cached, std::vector<LabelRecord>& records) {
  Progress& progress = options.progress != nullptr ? *options.progress : Progress::none();
  progress.start("reading labels", static_cast<int64_t>(images.size()));
  std::atomic<size_t> taken = 0;
  for (size_t begin = 0; begin < images.size(); begin += kBlock) {
    const size_t count = std::min(kBlock, images.size() - begin);
    parallel_for(count, options.threads, [&](size_t offset) {
      const fs::path& image = images[begin + offset];
      const fs::path label = label_path(image);
      LabelRecord& record = records[begin + offset];
      record.image_stamp = stamp_of(image);
      record.label_stamp = stamp_of(label);
      const auto found = cached.find(image.string());
      if (found != cached.end() && found->second.image_stamp == record.image_stamp &&
          found->second.label_stamp == record.label_stamp) {
        record = found->second;
        ++taken;
      } else {
        read_record(image, label, classes, record);
      }
    });
    progress.update(static_cast<int64_t>(begin + count));
  }
  progress.finish();
  return taken;
}

void save_records(const ImageList& images, int classes, const fs::path& cache,
                  std::span<LabelRecord> records) {
  LabelRecords by_path;
  for (size_t i = 0; i < images.size(); ++i) by_path[images[i].string()] = records[i];
  write_label_cache(cache, classes, by_path);
}

}  // namespace

LabelScan scan_labels(const ImageList& images, int classes, const ScanOptions& options) {
  LabelRecords cached;
  if (!options.cache.empty()) cached = read_label_cache(options.cache, classes);
  std::vector<LabelRecord> records(images.size());
  LabelScan scan;
  scan.from_cache = fill_records(images, classes, options, cached, records);
  if (!options.cache.empty() && scan.from_cache < images.size()) {
    save_records(images, classes, options.cache, records);
  }
  std::string digests;
  std::set<std::string> reported;  // a list may name an image twice
  for (size_t i = 0; i < images.size(); ++i) {
    if (records[i].problem.empty()) {
      add_record(images[i], records[i], scan, digests);
    } else if (reported.insert(images[i].string()).second) {
      scan.problems.push_back(records[i].problem);
    }
  }
  scan.sha256 = sha256(digests);
  if (scan.images.empty()) {
    fail("none of {} images can be used{}", images.size(),
         scan.problems.empty() ? "" : ": " + scan.problems.front());
  }
  return scan;
}

CocoDataset to_coco_dataset(std::span<const LabeledImage> images,
                            std::span<const std::string> names) {
  std::vector<CocoCategory> categories;
  for (size_t i = 0; i < names.size(); ++i) {
    categories.push_back({static_cast<int64_t>(i), names[i]});
  }
  std::vector<CocoImage> coco_images;
  std::vector<CocoAnnotation> annotations;
  for (size_t i = 0; i < images.size(); ++i) {
    const LabeledImage& image = images[i];
    coco_images.push_back(
        {static_cast<int64_t>(i) + 1, image.image.string(), image.width, image.height});
    for (const YoloLabel& label : image.labels) {
      const double width = label.width * image.width;
      const double height = label.height * image.height;
      annotations.push_back({.id = static_cast<int64_t>(annotations.size()) + 1,
                             .x = label.x * image.width - width / 2,
                             .y = label.y * image.height - height / 2,
                             .width = width,
                             .height = height,
                             .area = width * height,
                             .image = static_cast<int32_t>(i),
                             .category = label.class_id});
    }
  }
  return CocoDataset::make(categories, coco_images, std::move(annotations));
}

}  // namespace yoloquant::data

#include "data/coco_labels.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "base/file.h"
#include "data/coco_dataset.h"
#include "data/image.h"
#include "data/yolo_labels.h"

namespace yoloquant::data {
namespace {

namespace fs = std::filesystem;

// With no more than this outside, a label is one that parse_yolo_labels takes.
constexpr double kMaxOutside = 0.005;

// Checks or writes FOLDER/source.json, which says whose folder it is.
void claim_folder(const fs::path& folder, const std::string& key) {
  const fs::path stamp = folder / "source.json";
  if (fs::exists(stamp)) {
    if (read_file(stamp) == key) return;
    fail("{}: holds labels of another data set or fraction (see source.json): use another folder",
         folder.string());
  }
  if (fs::exists(folder) && !fs::is_empty(folder)) {
    fail("{}: the folder is not empty: use another one", folder.string());
  }
  write_file(stamp, key);
}

std::string source_key(const fs::path& root, const CocoDataset& train, const CocoDataset& val,
                       const CocoLabelOptions& options) {
  const auto split = [](const std::string& name, const CocoDataset& dataset) {
    return nlohmann::ordered_json{{"split", name},
                                  {"annotations", dataset.annotation_file().string()},
                                  {"sha256", sha256_of_file(dataset.annotation_file())}};
  };
  const nlohmann::ordered_json key{{"format", 1},
                                   {"coco_root", fs::canonical(root).string()},
                                   {"train", split(options.train_split, train)},
                                   {"val", split(options.val_split, val)},
                                   {"fraction", options.fraction},
                                   {"seed", options.seed}};
  return key.dump(2) + "\n";
}

// A path that stays below the folder it is appended to.
fs::path safe_name(const std::string& file_name) {
  const fs::path path = fs::path(file_name).lexically_normal();
  const bool leaves = path.is_absolute() || path.empty() || *path.begin() == "..";
  if (leaves || !has_image_extension(path)) fail("'{}' is no name of an image", file_name);
  return path;
}

// Writes and links one split.
class SplitWriter {
 public:
  SplitWriter(const CocoDataset& dataset, fs::path folder, std::string split)
      : dataset_(dataset), folder_(std::move(folder)), split_(std::move(split)) {}

  CocoLabelCounts write(double fraction, uint64_t seed) {
    const ImageList chosen = draw_fraction(present_images(), fraction, seed);
    for (size_t i = 0; i < dataset_.images().size(); ++i) {
      const CocoImage& image = dataset_.images()[i];
      if (!std::ranges::binary_search(chosen, dataset_.image_path(image))) continue;
      with_context(fmt::format("{}: image {}", dataset_.annotation_file().string(), image.id),
                   [&] { write_image(i); });
    }
    return counts_;
  }

 private:
  ImageList present_images() {
    ImageList present;
    for (const CocoImage& image : dataset_.images()) {
      const fs::path path = dataset_.image_path(image);
      std::error_code ignored;
      if (fs::is_regular_file(path, ignored)) {
        present.push_back(path);
      } else if (counts_.missing_images++ == 0) {
        counts_.first_missing = path;
      }
    }
    if (present.empty()) {
      fail("{}: none of {} images of '{}' is there", dataset_.image_folder().string(),
           dataset_.images().size(), split_);
    }
    std::ranges::sort(present);
    return present;
  }

  void write_image(size_t index) {
    const CocoImage& image = dataset_.images()[index];
    const fs::path link = folder_ / "images" / split_ / safe_name(image.file_name);
    const fs::path labels = label_path(link);
    if (!written_.insert(labels).second) fail("two images share {}", labels.string());
    make_link(dataset_.image_path(image), link);
    write_labels(labels, image_labels(index));
    ++counts_.images;
  }

  static void make_link(const fs::path& image, const fs::path& link) {
    const fs::path target = fs::canonical(image);
    fs::create_directories(link.parent_path());
    std::error_code error;
    if (fs::read_symlink(link, error) == target) return;
    fs::remove(link, error);
    fs::create_symlink(target, link, error);
    if (error) fail("{}: cannot make the link: {}", link.string(), error.message());
  }

  // A file that is already right keeps its time, by which the label cache knows it. Not flushed to
  // disk one by one: a file that a crash leaves short is put right by the next call.
  static void write_labels(const fs::path& path, const std::string& text) {
    fs::create_directories(path.parent_path());
    if (fs::exists(path) && read_file(path) == text) return;
    std::ofstream file(path, std::ios::binary);
    file << text;
    file.close();
    if (!file) fail("{}: cannot write", path.string());
  }

  std::string image_labels(size_t index) {
    const ImageSize size = size_of(dataset_.images()[index]);
    std::vector<YoloLabel> labels;
    for (const CocoAnnotation& annotation : dataset_.annotations_of(index)) {
      if (annotation.is_crowd) {
        ++counts_.crowds;
      } else if (!(annotation.width > 0 && annotation.height > 0)) {
        ++counts_.empty_boxes;
      } else {
        add_label(annotation, size, labels);
      }
    }
    counts_.objects += labels.size();
    return format_yolo_labels(labels);
  }

  ImageSize size_of(const CocoImage& image) const {
    if (image.width > 0 && image.height > 0) return {image.width, image.height};
    const MappedFile file(dataset_.image_path(image));
    return with_context(image.file_name, [&] { return image_size(file.bytes()); });
  }

  void add_label(const CocoAnnotation& annotation, const ImageSize& size,
                 std::vector<YoloLabel>& labels) {
    YoloLabel label{.class_id = annotation.category,
                    .x = (annotation.x + annotation.width / 2) / size.width,
                    .y = (annotation.y + annotation.height / 2) / size.height,
                    .width = annotation.width / size.width,
                    .height = annotation.height / size.height};
    const bool x_clipped = clip(label.x, label.width);
    const bool y_clipped = clip(label.y, label.height);
    if (x_clipped || y_clipped) ++counts_.clipped;
    if (label.width > 0 && label.height > 0) {
      labels.push_back(label);
    } else {
      ++counts_.empty_boxes;
    }
  }

  static bool clip(double& centre, double& size) {
    const double low = centre - size / 2;
    const double high = centre + size / 2;
    if (low >= -kMaxOutside && high <= 1 + kMaxOutside) return false;
    const double clipped_low = std::clamp(low, 0.0, 1.0);
    const double clipped_high = std::clamp(high, 0.0, 1.0);
    centre = (clipped_low + clipped_high) / 2;
    size = clipped_high - clipped_low;
    return true;
  }

  const CocoDataset& dataset_;
  fs::path folder_;
  std::string split_;
  CocoLabelCounts counts_;
  std::set<fs::path> written_;
};

}  // namespace

CocoLabels write_coco_labels(const fs::path& coco_root, const fs::path& folder,
                             const CocoLabelOptions& options) {
  const CocoDataset train = CocoDataset::open(coco_root, options.train_split);
  const CocoDataset val = CocoDataset::open(coco_root, options.val_split);
  const auto same = [](const CocoCategory& a, const CocoCategory& b) {
    return a.id == b.id && a.name == b.name;
  };
  if (!std::ranges::equal(train.categories(), val.categories(), same)) {
    fail("{} and {} have different categories", train.annotation_file().string(),
         val.annotation_file().string());
  }
  claim_folder(folder, source_key(coco_root, train, val, options));

  const fs::path root = fs::absolute(folder).lexically_normal();
  CocoLabels result;
  result.train =
      SplitWriter(train, root, options.train_split).write(options.fraction, options.seed);
  result.val = SplitWriter(val, root, options.val_split).write(1, 0);
  result.data.file = root / "data.yaml";
  result.data.root = root;
  for (const CocoCategory& category : train.categories())
    result.data.names.push_back(category.name);
  result.data.train = {root / "images" / options.train_split};
  result.data.val = {root / "images" / options.val_split};
  write_data_yaml(result.data);
  return result;
}

}  // namespace yoloquant::data

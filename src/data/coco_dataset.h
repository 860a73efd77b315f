#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace yoloquant::data {

struct CocoCategory {
  int64_t id = 0;
  std::string name;
};

struct CocoImage {
  int64_t id = 0;
  std::string file_name;
  int width = 0;  // 0 when the file does not say
  int height = 0;
};

struct CocoAnnotation {
  int64_t id = 0;
  // Left, top, width, height in image pixels.
  double x = 0;
  double y = 0;
  double width = 0;
  double height = 0;
  double area = 0;       // of the object's outline; of the box where the file has none
  int32_t image = 0;     // index into images()
  int32_t category = 0;  // index into categories()
  bool is_crowd = false;
  bool ignore = false;  // kept, but no metric of COCO's own uses it for boxes
};

// Object detection annotations in COCO's format (instances_*.json). Segmentations are not kept. The
// file is read as a stream: memory holds what this class shows and little more.
class CocoDataset {
 public:
  // ROOT/annotations/instances_SPLIT.json with images in ROOT/SPLIT, ROOT/images/SPLIT or
  // ROOT/images. Throws Error when the annotations are missing or malformed (with the element and
  // its byte offset), or no image folder is there.
  static CocoDataset open(const std::filesystem::path& root, std::string_view split);
  static CocoDataset read(const std::filesystem::path& annotations,
                          std::filesystem::path image_folder = {});
  // From memory. Categories and images may come in any order; `image` and `category` of an
  // annotation are indices into what is given. Throws Error for an index out of range or an id that
  // appears twice. COCO takes an annotation's id of 0 for "no match": count from 1.
  static CocoDataset make(const std::vector<CocoCategory>& categories,
                          const std::vector<CocoImage>& images,
                          std::vector<CocoAnnotation> annotations);

  // Sorted by id: index i is the class number that models predict.
  std::span<const CocoCategory> categories() const { return categories_; }
  // Sorted by id.
  std::span<const CocoImage> images() const { return images_; }
  // Grouped by image, in the file's order within one.
  std::span<const CocoAnnotation> annotations() const { return annotations_; }
  std::span<const CocoAnnotation> annotations_of(size_t image_index) const;

  // Index of an id, or -1.
  int64_t image_index(int64_t id) const;
  int64_t category_index(int64_t id) const;

  const std::filesystem::path& annotation_file() const { return annotation_file_; }
  const std::filesystem::path& image_folder() const { return image_folder_; }
  std::filesystem::path image_path(const CocoImage& image) const {
    return image_folder_ / image.file_name;
  }

  // The first `count` image ids in ascending order; all when count <= 0 or larger than there are.
  std::vector<int64_t> first_image_ids(int64_t count) const;
  // Sorts `ids` and drops duplicates. Throws Error for an id that is not in the data set.
  std::vector<int64_t> checked_image_ids(std::vector<int64_t> ids) const;

 private:
  // Takes over annotations whose indices are those of the sorted lists.
  void group_by_image(const std::vector<CocoAnnotation>& annotations);

  std::filesystem::path annotation_file_;
  std::filesystem::path image_folder_;
  std::vector<CocoCategory> categories_;
  std::vector<CocoImage> images_;
  std::vector<CocoAnnotation> annotations_;
  std::vector<size_t> first_annotation_;  // per image, one more at the end
};

}  // namespace yoloquant::data

#include "data/coco_dataset.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <set>
#include <unordered_map>

#include "base/error.h"
#include "data/json_reader.h"

namespace yoloquant::data {
namespace {

constexpr size_t kMaxImages = size_t{1} << 31;

// An annotation whose ids are not resolved yet: images and categories may follow in the file.
struct RawAnnotation {
  CocoAnnotation annotation;
  int64_t image_id;
  int64_t category_id;
};

struct RawDataset {
  std::vector<CocoCategory> categories;
  std::vector<CocoImage> images;
  std::vector<RawAnnotation> annotations;
};

[[noreturn]] void missing(const char* key) { fail("'{}': missing", key); }

int read_side(simdjson::simdjson_result<json::value> value, const char* key) {
  const auto side = get_json<int64_t>(value, key);
  if (side < 0 || side > std::numeric_limits<int>::max()) fail("'{}': {} is no size", key, side);
  return static_cast<int>(side);
}

CocoCategory read_category(json::object object) {
  CocoCategory category;
  bool has_id = false;
  for (auto field : object) {
    if (field.key() == "id") {
      category.id = get_json<int64_t>(field.value(), "id");
      has_id = true;
    } else if (field.key() == "name") {
      category.name = std::string(get_json<std::string_view>(field.value(), "name"));
    } else {
      check_json(field.error(), "category");
    }
  }
  if (!has_id) missing("id");
  return category;
}

CocoImage read_image_entry(json::object object) {
  CocoImage image;
  bool has_id = false;
  for (auto field : object) {
    if (field.key() == "id") {
      image.id = get_json<int64_t>(field.value(), "id");
      has_id = true;
    } else if (field.key() == "file_name") {
      image.file_name = std::string(get_json<std::string_view>(field.value(), "file_name"));
    } else if (field.key() == "width") {
      image.width = read_side(field.value(), "width");
    } else if (field.key() == "height") {
      image.height = read_side(field.value(), "height");
    } else {
      check_json(field.error(), "image");
    }
  }
  if (!has_id) missing("id");
  if (image.file_name.empty()) missing("file_name");
  return image;
}

RawAnnotation read_annotation(json::object object, uint64_t index) {
  RawAnnotation raw{};
  CocoAnnotation& annotation = raw.annotation;
  annotation.id = static_cast<int64_t>(index) + 1;
  bool has_image = false;
  bool has_category = false;
  bool has_box = false;
  bool has_area = false;
  for (auto field : object) {
    if (field.key() == "image_id") {
      raw.image_id = get_json<int64_t>(field.value(), "image_id");
      has_image = true;
    } else if (field.key() == "category_id") {
      raw.category_id = get_json<int64_t>(field.value(), "category_id");
      has_category = true;
    } else if (field.key() == "bbox") {
      double box[4];
      get_json_numbers(field.value(), "bbox", box, 4);
      annotation.x = box[0];
      annotation.y = box[1];
      annotation.width = box[2];
      annotation.height = box[3];
      has_box = true;
    } else if (field.key() == "area") {
      annotation.area = get_json<double>(field.value(), "area");
      has_area = true;
    } else if (field.key() == "iscrowd") {
      annotation.is_crowd = get_json_flag(field.value(), "iscrowd");
    } else if (field.key() == "ignore") {
      annotation.ignore = get_json_flag(field.value(), "ignore");
    } else if (field.key() == "id") {
      annotation.id = get_json<int64_t>(field.value(), "id");
    } else {
      check_json(field.error(), "annotation");
    }
  }
  if (!has_image) missing("image_id");
  if (!has_category) missing("category_id");
  if (!has_box) missing("bbox");
  if (!has_area) annotation.area = annotation.width * annotation.height;
  return raw;
}

RawDataset read_raw(const std::filesystem::path& path) {
  RawDataset raw;
  std::set<std::string> seen;
  JsonArrayStream stream(path);
  json::parser parser;
  std::string key;
  while (stream.next_array(&key)) {
    if (key != "images" && key != "categories" && key != "annotations") continue;
    const std::string name = path.string() + ": " + key;
    if (!seen.insert(key).second) fail("{}: the key appears twice", name);
    for_each_object(stream, parser, name, [&](json::object object, uint64_t index) {
      if (key == "images") {
        if (raw.images.size() == kMaxImages) fail("too many images");
        raw.images.push_back(read_image_entry(object));
      } else if (key == "categories") {
        raw.categories.push_back(read_category(object));
      } else {
        raw.annotations.push_back(read_annotation(object, index));
      }
    });
  }
  for (const char* wanted : {"images", "categories", "annotations"}) {
    if (!seen.contains(wanted)) {
      fail("{}: no array '{}': not a COCO annotation file", path.string(), wanted);
    }
  }
  return raw;
}

template <typename Item>
void sort_by_id(std::vector<Item>& items, const std::string& name) {
  std::ranges::stable_sort(items, {}, &Item::id);
  const auto twice = std::ranges::adjacent_find(items, {}, &Item::id);
  if (twice != items.end()) fail("{}: id {} appears twice", name, twice->id);
}

template <typename Item>
int64_t index_of(const std::vector<Item>& items, int64_t id) {
  const auto found = std::ranges::lower_bound(items, id, {}, &Item::id);
  return found != items.end() && found->id == id ? found - items.begin() : -1;
}

std::filesystem::path find_image_folder(const std::filesystem::path& root, std::string_view split) {
  for (const auto& folder : {root / split, root / "images" / split, root / "images"}) {
    if (std::filesystem::is_directory(folder)) return folder;
  }
  fail("{}: no image folder '{}' or 'images/{}'", root.string(), split, split);
}

}  // namespace

CocoDataset CocoDataset::open(const std::filesystem::path& root, std::string_view split) {
  const auto file = root / "annotations" / ("instances_" + std::string(split) + ".json");
  if (!std::filesystem::is_regular_file(file)) {
    fail("{}: missing (expected a COCO data set at {} with split '{}')", file.string(),
         root.string(), split);
  }
  return read(file, find_image_folder(root, split));
}

CocoDataset CocoDataset::read(const std::filesystem::path& annotations,
                              std::filesystem::path image_folder) {
  RawDataset raw = read_raw(annotations);
  const std::string name = annotations.string();
  CocoDataset dataset;
  dataset.annotation_file_ = annotations;
  dataset.image_folder_ = std::move(image_folder);
  sort_by_id(raw.categories, name + ": categories");
  sort_by_id(raw.images, name + ": images");
  dataset.categories_ = std::move(raw.categories);
  dataset.images_ = std::move(raw.images);

  std::vector<CocoAnnotation> annotated;
  annotated.reserve(raw.annotations.size());
  for (RawAnnotation& item : raw.annotations) {
    const int64_t image = dataset.image_index(item.image_id);
    const int64_t category = dataset.category_index(item.category_id);
    if (category < 0) {
      fail("{}: annotation {} has category {}, which is not in the file", name, item.annotation.id,
           item.category_id);
    }
    if (image < 0) continue;  // subsets are often made by dropping images only
    item.annotation.image = static_cast<int32_t>(image);
    item.annotation.category = static_cast<int32_t>(category);
    annotated.push_back(item.annotation);
  }
  dataset.group_by_image(annotated);
  return dataset;
}

CocoDataset CocoDataset::make(const std::vector<CocoCategory>& categories,
                              const std::vector<CocoImage>& images,
                              std::vector<CocoAnnotation> annotations) {
  const auto checked = [](const auto& items, int32_t index, const char* what) -> const auto& {
    if (index < 0 || static_cast<size_t>(index) >= items.size()) {
      fail("an annotation has {} {} of {}", what, index, items.size());
    }
    return items[static_cast<size_t>(index)];
  };
  CocoDataset dataset;
  dataset.categories_ = categories;
  dataset.images_ = images;
  sort_by_id(dataset.categories_, "categories");
  sort_by_id(dataset.images_, "images");
  for (CocoAnnotation& item : annotations) {
    const CocoImage& image = checked(images, item.image, "image");
    const CocoCategory& category = checked(categories, item.category, "category");
    item.image = static_cast<int32_t>(dataset.image_index(image.id));
    item.category = static_cast<int32_t>(dataset.category_index(category.id));
  }
  dataset.group_by_image(annotations);
  return dataset;
}

// Counting sort, which keeps the order within an image.
void CocoDataset::group_by_image(const std::vector<CocoAnnotation>& annotations) {
  first_annotation_.assign(images_.size() + 1, 0);
  for (const CocoAnnotation& item : annotations) {
    ++first_annotation_[static_cast<size_t>(item.image) + 1];
  }
  std::partial_sum(first_annotation_.begin(), first_annotation_.end(), first_annotation_.begin());
  annotations_.resize(annotations.size());
  std::vector<size_t> next(first_annotation_.begin(), first_annotation_.end() - 1);
  for (const CocoAnnotation& item : annotations) {
    annotations_[next[static_cast<size_t>(item.image)]++] = item;
  }
}

std::span<const CocoAnnotation> CocoDataset::annotations_of(size_t image_index) const {
  const size_t first = first_annotation_.at(image_index);
  return {annotations_.data() + first, first_annotation_.at(image_index + 1) - first};
}

int64_t CocoDataset::image_index(int64_t id) const { return index_of(images_, id); }
int64_t CocoDataset::category_index(int64_t id) const { return index_of(categories_, id); }

std::vector<int64_t> CocoDataset::first_image_ids(int64_t count) const {
  size_t size = images_.size();
  if (count > 0) size = std::min(size, static_cast<size_t>(count));
  std::vector<int64_t> ids(size);
  std::transform(images_.begin(), images_.begin() + static_cast<std::ptrdiff_t>(size), ids.begin(),
                 [](const CocoImage& image) { return image.id; });
  return ids;
}

std::vector<int64_t> CocoDataset::checked_image_ids(std::vector<int64_t> ids) const {
  std::ranges::sort(ids);
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  for (const int64_t id : ids) {
    if (image_index(id) < 0) fail("{}: no image with id {}", annotation_file_.string(), id);
  }
  return ids;
}

}  // namespace yoloquant::data

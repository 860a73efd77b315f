#include "pipeline/train_data.h"

#include <unordered_map>

#include "base/error.h"
#include "base/file.h"
#include "data/coco_labels.h"
#include "data/data_yaml.h"

namespace yoloquant::pipeline {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

struct Source {
  data::DataYaml yaml;
  data::ImageList train;
  ordered_json json;
};

ordered_json counts_json(const data::CocoLabelCounts& counts) {
  return {{"images", counts.images},
          {"objects", counts.objects},
          {"crowds_dropped", counts.crowds},
          {"empty_boxes_dropped", counts.empty_boxes},
          {"images_missing", counts.missing_images}};
}

Source from_coco(const TrainDataOptions& options, const fs::path& folder,
                 std::vector<std::string>& warnings) {
  data::CocoLabelOptions coco;
  coco.train_split = options.train_split;
  coco.val_split = options.val_split;
  coco.fraction = options.fraction;
  coco.seed = options.seed;
  const data::CocoLabels labels = data::write_coco_labels(options.coco, folder / "coco", coco);
  for (const data::CocoLabelCounts* counts : {&labels.train, &labels.val}) {
    if (counts->missing_images == 0) continue;
    warnings.push_back(fmt::format("{}: {} images of the annotations are missing, such as {}",
                                   options.coco.string(), counts->missing_images,
                                   counts->first_missing.string()));
  }
  Source source{.yaml = labels.data, .train = {}, .json = {}};
  source.train = data::split_images(source.yaml.train, source.yaml.root);
  source.json = {{"coco", fs::absolute(options.coco).string()},
                 {"train_split", options.train_split},
                 {"val_split", options.val_split},
                 {"train_annotations", counts_json(labels.train)},
                 {"val_annotations", counts_json(labels.val)}};
  return source;
}

// What another process has made of it.
Source from_written_coco(const fs::path& folder) {
  Source source{
      .yaml = data::read_data_yaml(folder / "coco" / "data.yaml"), .train = {}, .json = {}};
  source.train = data::split_images(source.yaml.train, source.yaml.root);
  return source;
}

Source from_yaml(const TrainDataOptions& options) {
  Source source{.yaml = data::read_data_yaml(options.yaml), .train = {}, .json = {}};
  source.train = with_context(options.yaml.string(), [&] {
    return data::draw_fraction(data::split_images(source.yaml.train, source.yaml.root),
                               options.fraction, options.seed);
  });
  source.json = {{"data", fs::absolute(options.yaml).string()}};
  return source;
}

data::LabelScan scan(const data::ImageList& images, int classes, const fs::path& folder,
                     const std::string& name, int threads, Progress& progress) {
  data::ScanOptions options;
  options.threads = threads;
  options.cache = folder / (name + ".cache");
  options.progress = &progress;
  return data::scan_labels(images, classes, options);
}

void write_list(const data::LabelScan& scan, const fs::path& file) {
  data::ImageList used;
  for (const data::LabeledImage& image : scan.images) used.push_back(fs::absolute(image.image));
  data::write_image_list(file, used);
}

ordered_json scan_json(const data::LabelScan& scan, const std::string& list) {
  size_t objects = 0;
  for (const data::LabeledImage& image : scan.images) objects += image.labels.size();
  return {{"list", list},
          {"images", scan.images.size()},
          {"objects", objects},
          {"without_objects", scan.without_objects},
          {"broken", scan.problems.size()},
          {"duplicate_labels", scan.duplicates},
          {"sha256", scan.sha256}};
}

void report_problems(TrainData& data, const fs::path& folder) {
  std::string text;
  for (const data::LabelScan* scan : {&data.train, &data.val}) {
    for (const std::string& problem : scan->problems) text += problem + '\n';
  }
  const fs::path file = folder / "problems.txt";
  std::error_code ignored;
  fs::remove(file, ignored);
  if (text.empty()) return;
  write_file(file, text);
  data.warnings.push_back(
      fmt::format("{} broken images or labels are left out, such as {}; all are in {}",
                  data.train.problems.size() + data.val.problems.size(),
                  text.substr(0, text.find('\n')), file.string()));
}

Source open_source(const TrainDataOptions& options, const fs::path& folder, bool writes,
                   std::vector<std::string>& warnings) {
  if (options.coco.empty()) return from_yaml(options);
  return writes ? from_coco(options, folder, warnings) : from_written_coco(folder);
}

// Ids of the images by their path below the split's folder, as the annotations name them.
std::vector<int64_t> coco_ids(const data::CocoDataset& truth, const data::LabelScan& val,
                              const fs::path& folder) {
  std::unordered_map<std::string, int64_t> by_name;
  for (const data::CocoImage& image : truth.images()) by_name[image.file_name] = image.id;
  std::vector<int64_t> ids;
  for (const data::LabeledImage& image : val.images) {
    const std::string name = image.image.lexically_relative(folder).generic_string();
    const auto found = by_name.find(name);
    if (found == by_name.end()) fail("{}: not in the annotations", image.image.string());
    ids.push_back(found->second);
  }
  return ids;
}

}  // namespace

TrainData open_train_data(const TrainDataOptions& options, const fs::path& folder, int threads,
                          Progress& progress, bool writes) {
  if (options.yaml.empty() == options.coco.empty()) {
    fail_usage("training needs data: either --data data.yaml or --coco ROOT");
  }
  TrainData data;
  const Source source = open_source(options, folder, writes, data.warnings);
  data.names = source.yaml.names;
  const int classes = source.yaml.classes();
  data.train = scan(source.train, classes, folder, "train", threads, progress);
  data::ImageList val = data::split_images(source.yaml.val, source.yaml.root);
  if (options.val_images > 0 && static_cast<size_t>(options.val_images) < val.size()) {
    val.resize(static_cast<size_t>(options.val_images));
  }
  data.val = scan(val, classes, folder, "val", threads, progress);
  if (data.train.without_objects == data.train.images.size()) {
    fail(
        "none of the {} training images has a labelled object: labels belong beside the folder "
        "\"images\", in a folder \"labels\"",
        data.train.images.size());
  }
  if (!writes) return data;
  write_list(data.train, folder / "train.txt");
  write_list(data.val, folder / "val.txt");
  report_problems(data, folder);
  if (options.coco.empty()) {
    data.truth = data::to_coco_dataset(data.val.images, data.names);
    for (size_t i = 0; i < data.val.images.size(); ++i) {
      data.val_ids.push_back(static_cast<int64_t>(i) + 1);
    }
  } else {
    data.truth = data::CocoDataset::open(options.coco, options.val_split);
    data.val_ids = coco_ids(data.truth, data.val, source.yaml.val.front());
  }
  data.provenance = source.json;
  data.provenance["fraction"] = options.fraction;
  data.provenance["seed"] = options.seed;
  data.provenance["names"] = data.names;
  data.provenance["train"] = scan_json(data.train, "train.txt");
  data.provenance["val"] = scan_json(data.val, "val.txt");
  write_file(folder / "data.json", data.provenance.dump(2) + "\n");
  return data;
}

}  // namespace yoloquant::pipeline

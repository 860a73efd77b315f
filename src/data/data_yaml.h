#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "data/image_list.h"

namespace yoloquant::data {

// A data set in Ultralytics' form (data.yaml):
//   path: the root of what follows: relative to the file, else to the current folder; the file's
//     folder when missing
//   train, val (or validation), test: a folder, a list file, an image, or a list of them
//   names: a list, or a map from class number to name;   nc: their number
struct DataYaml {
  std::filesystem::path file;
  std::filesystem::path root;
  std::vector<std::string> names;
  // Sources of each split, absolute. A split that the file does not have is empty.
  std::vector<std::filesystem::path> train;
  std::vector<std::filesystem::path> val;
  std::vector<std::filesystem::path> test;

  int classes() const { return static_cast<int>(names.size()); }
};

// Throws Error, with the file, for what is missing or makes no sense: no train or val, neither
// names nor nc or a disagreement of both, class numbers with gaps. Without names a class is
// "class_3". Other keys (download, kpt_shape, ...) are ignored: nothing is downloaded or run.
DataYaml read_data_yaml(const std::filesystem::path& file);

// Writes what read_data_yaml gives back, with paths relative to the file's folder where they lie
// below it.
void write_data_yaml(const DataYaml& data);

// The images of a split, sorted by path as Ultralytics has them: folders with all that is below
// them (links are followed), list files with one path a line ('#' starts a comment; relative paths
// start at the list's folder, else at `root`). A file of a list need not exist: scan_labels reports
// those that do not. Throws Error for a source that does not exist or has no image in it.
ImageList split_images(const std::vector<std::filesystem::path>& sources,
                       const std::filesystem::path& root);

// A part of a list, in the list's order: round(fraction * size) images, at least one, drawn without
// bias by `seed`. With one seed a smaller fraction is a subset of a larger one. (Ultralytics takes
// the first part of the sorted list.) Throws Error (usage) unless 0 < fraction <= 1.
ImageList draw_fraction(const ImageList& images, double fraction, uint64_t seed);

}  // namespace yoloquant::data

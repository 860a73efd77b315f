#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace yoloquant::data {

// Images to calibrate with or to predict on: paths of files that exist.
using ImageList = std::vector<std::filesystem::path>;

// `source` is one of
//   - a text file with one path a line ('#' starts a comment, empty lines are skipped). A path is
//     taken as it is when absolute; otherwise it is looked for in the list's folder and the one
//     above, and in train2017, val2017, images, images/train2017 and images/val2017 of both. The
//     list's order is kept.
//   - a folder: the images in it (not below it), sorted by name.
//   - an image file: just that one.
// Throws Error when `source` does not exist, has no image in it, or names files that do not exist
// (with the line number of each, up to ten).
ImageList read_image_list(const std::filesystem::path& source);

// `count` different items of `images` in a random order that depends on `seed` alone; all of them,
// shuffled, when there are fewer.
ImageList draw_images(const ImageList& images, size_t count, uint64_t seed);

// Writes a list file that read_image_list gives back: paths below the list's folder are written
// relative to it, others absolute. `comments` become lines with '#' on top.
void write_image_list(const std::filesystem::path& path, const ImageList& images,
                      std::span<const std::string> comments = {});

}  // namespace yoloquant::data

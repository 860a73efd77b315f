#include "data/image_list.h"

#include <algorithm>
#include <array>
#include <set>

#include "base/error.h"
#include "base/file.h"
#include "base/random.h"
#include "base/text.h"
#include "data/image.h"

namespace yoloquant::data {
namespace {

namespace fs = std::filesystem;

bool is_file(const fs::path& path) {
  std::error_code ignored;
  return fs::is_regular_file(path, ignored);
}

// Where a list's relative paths may start.
std::vector<fs::path> search_folders(const fs::path& list) {
  const fs::path folder = fs::absolute(list).parent_path();
  std::vector<fs::path> folders;
  for (const fs::path& root : {folder, folder.parent_path()}) {
    for (const char* name :
         {"", "train2017", "val2017", "images", "images/train2017", "images/val2017"}) {
      const fs::path candidate = *name == '\0' ? root : root / name;
      std::error_code ignored;
      if (fs::is_directory(candidate, ignored)) folders.push_back(candidate);
    }
  }
  return folders;
}

// The existing file an entry means, or "".
fs::path resolve(const fs::path& entry, const std::vector<fs::path>& folders) {
  if (entry.is_absolute()) return is_file(entry) ? entry : fs::path();
  for (const fs::path& folder : folders) {
    const fs::path candidate = (folder / entry).lexically_normal();
    if (is_file(candidate)) return candidate;
  }
  return {};
}

std::string folder_names(const std::vector<fs::path>& folders) {
  std::string names;
  for (const fs::path& folder : folders) {
    names += (names.empty() ? "" : ", ") + folder.string();
  }
  return names;
}

ImageList read_list_file(const fs::path& list) {
  constexpr size_t kMostReported = 10;
  const std::vector<fs::path> folders = search_folders(list);
  const std::string text = read_file(list);
  if (text.find('\0') != std::string::npos) {
    fail("{}: neither an image nor a list of image paths", list.string());
  }
  ImageList images;
  size_t line_number = 0;
  size_t missing = 0;
  std::string report;
  for (const std::string& raw_line : split(text, '\n')) {
    ++line_number;
    const std::string line = trim(raw_line);
    if (line.empty() || line.front() == '#') continue;
    const fs::path path = resolve(line, folders);
    if (!path.empty()) {
      images.push_back(path);
    } else if (++missing <= kMostReported) {
      report += fmt::format("{}line {}: '{}'", missing == 1 ? "" : ", ", line_number, line);
    }
  }
  if (missing > 0) {
    if (missing > kMostReported) report += fmt::format(" and {} more", missing - kMostReported);
    fail("{}: {} image{} not found: {} (looked in {})", list.string(), missing,
         missing == 1 ? "" : "s", report, folder_names(folders));
  }
  if (images.empty()) fail("{}: the list names no image", list.string());
  return images;
}

ImageList read_folder(const fs::path& folder) {
  ImageList images;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.is_regular_file() && has_image_extension(entry.path())) {
      images.push_back(entry.path());
    }
  }
  if (images.empty()) {
    fail("{}: no image (.jpg, .jpeg, .png, .bmp, .webp) in the folder", folder.string());
  }
  std::ranges::sort(images);
  return images;
}

}  // namespace

ImageList read_image_list(const fs::path& source) {
  std::error_code error;
  if (fs::is_directory(source, error)) return read_folder(source);
  if (!is_file(source)) fail("{}: no such file or folder", source.string());
  if (has_image_extension(source)) return {source};
  return read_list_file(source);
}

ImageList draw_images(const ImageList& images, size_t count, uint64_t seed) {
  ImageList drawn = images;
  Random random(seed);
  random.shuffle(drawn);
  if (count < drawn.size()) drawn.resize(count);
  return drawn;
}

void write_image_list(const fs::path& path, const ImageList& images,
                      std::span<const std::string> comments) {
  const fs::path folder = fs::absolute(path).lexically_normal().parent_path();
  std::string text;
  for (const std::string& comment : comments) text += "# " + comment + "\n";
  for (const fs::path& image : images) {
    const fs::path absolute = fs::absolute(image).lexically_normal();
    const fs::path relative = absolute.lexically_relative(folder);
    const bool below = !relative.empty() && *relative.begin() != "..";
    text += (below ? relative : absolute).string() + "\n";
  }
  write_file(path, text);
}

}  // namespace yoloquant::data

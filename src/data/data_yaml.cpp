#include "data/data_yaml.h"

#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "base/error.h"
#include "base/file.h"
#include "base/text.h"
#include "data/image.h"

namespace yoloquant::data {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxYamlBytes = size_t{4} << 20;
constexpr int kMaxClasses = 100000;

fs::path normal(const fs::path& path) { return fs::absolute(path).lexically_normal(); }

bool is_there(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(path, ignored);
}

YAML::Node load_yaml(const fs::path& file) {
  std::error_code ignored;
  if (fs::file_size(file, ignored) > kMaxYamlBytes) fail("cannot be read or larger than 4 MiB");
  try {
    YAML::Node node = YAML::Load(read_file(file));
    if (!node.IsMap()) fail("no mapping of keys: not a data.yaml");
    return node;
  } catch (const YAML::Exception& error) {
    fail("line {}: {}", error.mark.line + 1, error.msg);
  }
}

// The value of a key; undefined when it is missing or empty.
YAML::Node find(const YAML::Node& node, const char* key) {
  const YAML::Node value = node[key];
  return value.IsDefined() && !value.IsNull() ? value : YAML::Node(YAML::NodeType::Undefined);
}

int integer(const YAML::Node& node, const char* what) {
  double value = 0;
  if (!node.IsScalar() || !YAML::convert<double>::decode(node, value) ||
      value != std::floor(value) || value < 0 || value > kMaxClasses) {
    fail("'{}': '{}' is no integer in 0..{}", what, node.IsScalar() ? node.Scalar() : "...",
         kMaxClasses);
  }
  return static_cast<int>(value);
}

std::string text(const YAML::Node& node, const char* what) {
  if (!node.IsScalar()) fail("'{}': expected text", what);
  return node.Scalar();
}

std::vector<std::string> read_names(const YAML::Node& node) {
  std::vector<std::string> names;
  if (node.IsSequence()) {
    for (const YAML::Node& name : node) names.push_back(text(name, "names"));
  } else if (node.IsMap()) {
    names.resize(node.size());
    std::set<int> seen;
    for (const auto& entry : node) {
      const int id = integer(entry.first, "names");
      if (static_cast<size_t>(id) >= names.size() || !seen.insert(id).second) {
        fail("'names': class numbers must be 0..{}, each once, and {} is not", names.size() - 1,
             id);
      }
      names[static_cast<size_t>(id)] = text(entry.second, "names");
    }
  } else {
    fail("'names': expected a list, or a map from class number to name");
  }
  if (names.empty()) fail("'names': no class");
  return names;
}

std::vector<std::string> read_classes(const YAML::Node& node) {
  const YAML::Node names_node = find(node, "names");
  const YAML::Node count_node = find(node, "nc");
  if (!names_node && !count_node) fail("needs 'names' or 'nc'");
  const int count = count_node ? integer(count_node, "nc") : 0;
  if (count_node && count == 0) fail("'nc': no class");
  std::vector<std::string> names;
  if (names_node) {
    names = read_names(names_node);
    if (count_node && static_cast<size_t>(count) != names.size()) {
      fail("'nc' is {}, but 'names' has {} classes", count, names.size());
    }
  } else {
    for (int i = 0; i < count; ++i) names.push_back(fmt::format("class_{}", i));
  }
  return names;
}

std::vector<fs::path> read_sources(const YAML::Node& node, const char* key, const fs::path& root) {
  std::vector<fs::path> sources;
  const auto add = [&](const YAML::Node& item) {
    const std::string name = text(item, key);
    fs::path path = normal(root / name);
    // Exported data sets often say ../train for the folder beside the file.
    if (!is_there(path) && name.starts_with("../") && is_there(root / name.substr(3))) {
      path = normal(root / name.substr(3));
    }
    sources.push_back(path);
  };
  if (!node) return sources;
  if (node.IsSequence()) {
    for (const YAML::Node& item : node) add(item);
  } else {
    add(node);
  }
  return sources;
}

// All images below a folder. `visited` ends loops of links.
void add_folder(const fs::path& folder, std::set<fs::path>& visited, ImageList& images) {
  if (!visited.insert(fs::canonical(folder)).second) return;
  for (const auto& entry : fs::directory_iterator(folder)) {
    std::error_code ignored;
    if (entry.is_directory(ignored)) {
      add_folder(entry.path(), visited, images);
    } else if (has_image_extension(entry.path())) {
      images.push_back(entry.path());
    }
  }
}

void add_list(const fs::path& list, const fs::path& root, ImageList& images) {
  const std::string contents = read_file(list);
  if (contents.find('\0') != std::string::npos) fail("{}: no list of image paths", list.string());
  for (const std::string& line : split(contents, '\n')) {
    const std::string name = trim(line.starts_with("\xEF\xBB\xBF") ? line.substr(3) : line);
    if (name.empty() || name.front() == '#') continue;
    const fs::path beside = normal(list.parent_path() / name);
    const fs::path in_root = normal(root / name);
    images.push_back(!is_there(beside) && is_there(in_root) ? in_root : beside);
  }
}

void add_source(const fs::path& source, const fs::path& root, ImageList& images) {
  const size_t before = images.size();
  if (fs::is_directory(source)) {
    std::set<fs::path> visited;
    add_folder(source, visited, images);
  } else if (!is_there(source)) {
    fail("{}: no such folder or list of images", source.string());
  } else if (has_image_extension(source)) {
    images.push_back(source);
  } else {
    add_list(source, root, images);
  }
  if (images.size() == before) fail("{}: no image in it", source.string());
}

void emit_sources(YAML::Emitter& out, const char* key, const std::vector<fs::path>& sources,
                  const fs::path& folder) {
  if (sources.empty()) return;
  out << YAML::Key << key << YAML::Value;
  if (sources.size() > 1) out << YAML::BeginSeq;
  for (const fs::path& source : sources) {
    const fs::path relative = source.lexically_relative(folder);
    const bool below = !relative.empty() && *relative.begin() != "..";
    out << (below ? relative : source).string();
  }
  if (sources.size() > 1) out << YAML::EndSeq;
}

}  // namespace

DataYaml read_data_yaml(const fs::path& file) {
  return with_context(file.string(), [&] {
    const YAML::Node node = load_yaml(file);
    DataYaml data;
    data.file = normal(file);
    data.root = data.file.parent_path();
    if (const YAML::Node path = find(node, "path"); path) {
      const fs::path name = text(path, "path");
      data.root = is_there(data.root / name) ? normal(data.root / name) : normal(name);
    }
    data.names = read_classes(node);
    data.train = read_sources(find(node, "train"), "train", data.root);
    data.val = read_sources(find(node, "val"), "val", data.root);
    if (data.val.empty()) {
      data.val = read_sources(find(node, "validation"), "validation", data.root);
    }
    data.test = read_sources(find(node, "test"), "test", data.root);
    if (data.train.empty()) fail("'train' is missing: the folder or list of training images");
    if (data.val.empty()) fail("'val' is missing: the folder or list of validation images");
    return data;
  });
}

void write_data_yaml(const DataYaml& data) {
  const fs::path folder = normal(data.file).parent_path();
  YAML::Emitter out;
  out << YAML::BeginMap;
  emit_sources(out, "train", data.train, folder);
  emit_sources(out, "val", data.val, folder);
  emit_sources(out, "test", data.test, folder);
  out << YAML::Key << "nc" << YAML::Value << data.classes();
  out << YAML::Key << "names" << YAML::Value << YAML::BeginMap;
  for (int i = 0; i < data.classes(); ++i) {
    out << YAML::Key << i << YAML::Value << YAML::DoubleQuoted
        << data.names[static_cast<size_t>(i)];
  }
  out << YAML::EndMap << YAML::EndMap;
  write_file(data.file, std::string(out.c_str()) + "\n");
}

ImageList split_images(const std::vector<fs::path>& sources, const fs::path& root) {
  ImageList images;
  for (const fs::path& source : sources) add_source(source, root, images);
  std::ranges::sort(images);
  return images;
}

ImageList draw_fraction(const ImageList& images, double fraction, uint64_t seed) {
  if (!(fraction > 0) || fraction > 1) fail_usage("fraction {} is not in (0, 1]", fraction);
  if (fraction == 1) return images;
  const double wanted = std::nearbyint(fraction * static_cast<double>(images.size()));
  ImageList drawn = draw_images(images, static_cast<size_t>(std::max(wanted, 1.0)), seed);
  std::ranges::sort(drawn);
  return drawn;
}

}  // namespace yoloquant::data

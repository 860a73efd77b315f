#include "model/definition.h"

#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "base/text.h"

namespace yoloquant::model {

namespace {

constexpr std::pair<const char*, const char*> kBuiltin[] = {
#include "builtin_definitions.inc"
};
constexpr int64_t kMaxLayers = 1000;
constexpr int64_t kMaxRepeats = 100;

template <typename T>
T number(const YAML::Node& node, const char* what) {
  if (!node.IsDefined() || !node.IsScalar()) fail("{} is missing or no number", what);
  try {
    return node.as<T>();
  } catch (const YAML::Exception&) {
    fail("{} is no number: '{}'", what, node.Scalar());
  }
}

Argument parse_argument(const YAML::Node& node, int64_t class_count) {
  if (node.IsNull()) return {};
  if (!node.IsScalar()) fail("arguments must be plain values");
  const std::string& text = node.Scalar();
  if (node.Tag() == "!") return text;  // quoted
  if (text == "nc") return class_count;
  if (text == "None") return {};
  if (text == "True" || text == "true") return true;
  if (text == "False" || text == "false") return false;
  int64_t integer = 0;
  if (YAML::convert<int64_t>::decode(node, integer)) return integer;
  double real = 0;
  if (YAML::convert<double>::decode(node, real)) return real;
  return text;
}

Layer parse_row(const YAML::Node& row, int64_t index, double depth, int64_t class_count) {
  if (!row.IsSequence() || row.size() != 4) fail("needs [from, repeats, module, arguments]");
  Layer layer;
  const auto add_source = [&](const YAML::Node& node) {
    const auto from = number<int64_t>(node, "from");
    const int64_t absolute = from < 0 ? index + from : from;
    if (absolute < -1 || absolute >= index) fail("takes its input from layer {}", from);
    layer.from.push_back(absolute);
  };
  if (row[0].IsSequence()) {
    for (const YAML::Node& node : row[0]) add_source(node);
  } else {
    add_source(row[0]);
  }
  if (layer.from.empty()) fail("has no input");
  layer.repeats = number<int64_t>(row[1], "repeats");
  // Python's round: ties to even.
  if (layer.repeats > 1) {
    layer.repeats = std::max<int64_t>(std::llrint(static_cast<double>(layer.repeats) * depth), 1);
  }
  if (layer.repeats < 1 || layer.repeats > kMaxRepeats) fail("{} repeats", layer.repeats);
  layer.module = row[2].Scalar();
  if (!row[3].IsSequence()) fail("arguments are no list");
  for (const YAML::Node& node : row[3]) {
    layer.arguments.push_back(parse_argument(node, class_count));
  }
  return layer;
}

// The scale letter behind "yolov10": "yolov10n-shapes" -> "n".
std::string scale_of_name(const std::string& name) {
  const size_t start = name.find("yolov");
  if (start == std::string::npos) return "";
  size_t i = start + 5;
  while (i < name.size() && std::isdigit(static_cast<unsigned char>(name[i])) != 0) ++i;
  return i < name.size() ? name.substr(i, 1) : "";
}

struct Scaling {
  std::string name;
  double depth = 1;
  double width = 1;
  int64_t max_channels = 1 << 20;
};

Scaling choose_scaling(const YAML::Node& root, const std::string& name, std::string wanted) {
  Scaling result;
  const YAML::Node scales = root["scales"];
  if (!scales.IsDefined() || !scales.IsMap() || scales.size() == 0) {
    if (root["depth_multiple"])
      result.depth = number<double>(root["depth_multiple"], "depth_multiple");
    if (root["width_multiple"])
      result.width = number<double>(root["width_multiple"], "width_multiple");
    if (root["max_channels"])
      result.max_channels = number<int64_t>(root["max_channels"], "max_channels");
    return result;
  }
  if (wanted.empty() && root["scale"] && root["scale"].IsScalar()) wanted = root["scale"].Scalar();
  if (wanted.empty() && scales[scale_of_name(name)]) wanted = scale_of_name(name);
  if (wanted.empty()) wanted = scales.begin()->first.Scalar();
  const YAML::Node row = scales[wanted];
  if (!row.IsDefined() || !row.IsSequence() || row.size() != 3) {
    fail("scale '{}' is not among the definition's scales, or is no [depth, width, max_channels]",
         wanted);
  }
  return {wanted, number<double>(row[0], "depth multiple"),
          number<double>(row[1], "width multiple"), number<int64_t>(row[2], "max_channels")};
}

Definition parse(std::string_view yaml, const std::string& name, const std::string& scale,
                 int64_t class_count) {
  const YAML::Node root = YAML::Load(std::string(yaml));
  if (!root.IsMap()) fail("no model definition: the top level must be a map");
  Definition definition;
  definition.name = name;
  definition.yaml = yaml;
  definition.class_count = class_count > 0 ? class_count : number<int64_t>(root["nc"], "nc");
  if (definition.class_count < 1 || definition.class_count > 100000) {
    fail("nc is {}", definition.class_count);
  }
  if (root["ch"]) definition.input_channels = number<int64_t>(root["ch"], "ch");
  const Scaling scaling = choose_scaling(root, name, scale);
  if (!(scaling.depth > 0 && scaling.depth < 100 && scaling.width > 0 && scaling.width < 100 &&
        scaling.max_channels > 0)) {
    fail("scale '{}' is out of range", scaling.name);
  }
  definition.scale = scaling.name;
  definition.width_multiple = scaling.width;
  definition.max_channels = scaling.max_channels;
  for (const char* part : {"backbone", "head"}) {
    const YAML::Node rows = root[part];
    if (!rows.IsDefined() || !rows.IsSequence()) fail("'{}' is missing or no list", part);
    for (const YAML::Node& row : rows) {
      const auto index = static_cast<int64_t>(definition.layers.size());
      if (index >= kMaxLayers) fail("more than {} layers", kMaxLayers);
      definition.layers.push_back(with_context(
          fmt::format("layer {} (line {})", index, row.Mark().line + 1),
          [&] { return parse_row(row, index, scaling.depth, definition.class_count); }));
    }
  }
  if (definition.layers.empty()) fail("the definition has no layers");
  return definition;
}

}  // namespace

Definition parse_definition(std::string_view yaml, const std::string& name,
                            const std::string& scale, int64_t class_count) {
  try {
    return parse(yaml, name, scale, class_count);
  } catch (const YAML::Exception& error) {
    fail("not valid YAML: {}", error.what());
  }
}

std::vector<std::string> builtin_definitions() {
  std::vector<std::string> names;
  for (const auto& [name, text] : kBuiltin) names.emplace_back(name);
  return names;
}

Definition load_definition(const std::filesystem::path& path, int64_t class_count) {
  const std::string stem = path.stem().string();
  return with_context(path.string(), [&] {
    if (std::filesystem::exists(path)) {
      return parse_definition(read_file(path), stem, "", class_count);
    }
    for (const auto& [name, text] : kBuiltin) {
      if (path == name) return parse_definition(text, stem, "", class_count);
    }
    const std::vector<std::string> names = builtin_definitions();
    const std::string suggestion = closest_match(path.string(), names);
    fail_usage("no such file or built-in definition{}",
               suggestion.empty() ? "" : fmt::format("; did you mean {}?", suggestion));
  });
}

}  // namespace yoloquant::model

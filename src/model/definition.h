#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace yoloquant::model {

// An argument of a module as the YAML has it; "nc" is already replaced by the class count.
using Argument = std::variant<std::monostate, bool, int64_t, double, std::string>;

// One row of a definition: [from, repeats, module, arguments].
struct Layer {
  std::vector<int64_t> from;  // absolute layer indices; -1 is the image
  int64_t repeats = 1;        // after the depth multiple
  std::string module;         // "Conv", "C2f", "nn.Upsample", ...
  std::vector<Argument> arguments;
};

// A model definition in Ultralytics' YAML format, with its scale applied.
struct Definition {
  std::string name;   // "yolov10n"
  std::string scale;  // "n", or "" without scales
  int64_t class_count = 80;
  int64_t input_channels = 3;
  double width_multiple = 1;
  int64_t max_channels = 1 << 20;
  std::vector<Layer> layers;
  std::string yaml;  // the text it was read from
};

// Parses YAML text. `scale` picks from `scales`; empty: the text's own `scale` key, the letter in
// `name` ("yolov10n" -> "n"), or the only scale. `class_count` > 0 replaces nc. Throws Error that
// names the row for anything malformed. Follows Ultralytics parse_model.
Definition parse_definition(std::string_view yaml, const std::string& name,
                            const std::string& scale = "", int64_t class_count = 0);

// Built-in definitions: "yolov10n.yaml" ... "yolov10x.yaml", and "yolov10p.yaml", half as wide as
// n.
std::vector<std::string> builtin_definitions();

// Reads a file, or the built-in definition of that name when there is no such file.
Definition load_definition(const std::filesystem::path& path, int64_t class_count = 0);

}  // namespace yoloquant::model

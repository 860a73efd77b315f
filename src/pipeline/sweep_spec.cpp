#include "pipeline/sweep_spec.h"

#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <cctype>
#include <set>

#include "base/error.h"
#include "base/text.h"

namespace yoloquant::pipeline {
namespace {

const std::vector<std::string> kKeys{"command", "options", "cases", "grid", "stages"};
constexpr const char* kCase = "case";
constexpr size_t kMaxCells = 10000;
constexpr size_t kMaxNameLength = 100;

[[noreturn]] void fail_at(const YAML::Node& node, const std::string& message) {
  fail_usage("line {}: {}", node.Mark().line + 1, message);
}

// In one line, so that it can stand behind a key.
std::string one_line(const YAML::Node& value) {
  YAML::Emitter out;
  out.SetSeqFormat(YAML::Flow);
  out.SetMapFormat(YAML::Flow);
  out << value;
  return out.c_str();
}

void check_name(const YAML::Node& key) {
  const std::string& name = key.Scalar();
  if (name == "out" || name == "resume") {
    fail_at(key, "'" + name + "' is set by the sweep, for each cell");
  }
}

SweepOptions options_in(const YAML::Node& node, const char* what) {
  if (!node.IsMap()) fail_at(node, fmt::format("'{}' needs options with values", what));
  SweepOptions options;
  for (const auto& entry : node) {
    check_name(entry.first);
    options.emplace_back(entry.first.Scalar(), one_line(entry.second));
  }
  return options;
}

void read_cases(const YAML::Node& node, SweepSpec& spec) {
  if (!node.IsMap() || node.size() == 0) fail_at(node, "'cases' needs names with options");
  for (const auto& entry : node) {
    spec.cases.emplace_back(entry.first.Scalar(), options_in(entry.second, "a case"));
  }
}

void read_grid(const YAML::Node& node, SweepSpec& spec) {
  if (!node.IsMap()) fail_at(node, "'grid' needs options with lists of values");
  for (const auto& entry : node) {
    check_name(entry.first);
    const YAML::Node& values = entry.second;
    if (!values.IsSequence() || values.size() == 0) {
      fail_at(entry.first, fmt::format("'{}' needs a list of values", entry.first.Scalar()));
    }
    auto& [name, list] = spec.grid.emplace_back(entry.first.Scalar(), std::vector<std::string>{});
    for (const auto& value : values) {
      list.push_back(one_line(value));
      if (std::ranges::count(list, list.back()) > 1) {
        fail_at(value, fmt::format("'{}' has the value {} twice", name, list.back()));
      }
    }
  }
}

void read_stages(const YAML::Node& node, SweepSpec& spec) {
  if (!node.IsSequence() || node.size() == 0) fail_at(node, "'stages' needs a list");
  for (const auto& entry : node) {
    if (!entry.IsMap()) fail_at(entry, "a stage has 'options', and 'keep'");
    SweepStage& stage = spec.stages.emplace_back();
    for (const auto& part : entry) {
      const std::string& key = part.first.Scalar();
      if (key == "options") {
        stage.options = options_in(part.second, "options");
      } else if (key == "keep") {
        if (!YAML::convert<int64_t>::decode(part.second, stage.keep) || stage.keep < 1) {
          fail_at(part.first, "'keep' needs a number of cells");
        }
        if (spec.stages.size() == 1) fail_at(part.first, "the first stage has no cells to keep");
      } else {
        fail_at(part.first, "unknown key '" + key + "' of a stage; known are options, keep");
      }
    }
  }
}

void check_size(const SweepSpec& spec) {
  size_t cells = std::max<size_t>(spec.cases.size(), 1);
  for (const auto& [option, values] : spec.grid) {
    cells *= values.size();
    if (cells > kMaxCells) fail_usage("more than {} cells", kMaxCells);
  }
}

void read_command(const YAML::Node& node, SweepSpec& spec) {
  spec.command = node.IsScalar() ? node.Scalar() : "";
  if (std::ranges::find(kSweepCommands, spec.command) == std::end(kSweepCommands)) {
    fail_at(node, "'command' is train, qat or run");
  }
}

SweepSpec read(const YAML::Node& root) {
  if (!root.IsMap()) fail_usage("no sweep: 'command', 'options' and 'grid' are missing");
  SweepSpec spec;
  for (const auto& entry : root) {
    const std::string& key = entry.first.Scalar();
    if (key == "command") {
      read_command(entry.second, spec);
    } else if (key == "options") {
      spec.options = options_in(entry.second, "options");
    } else if (key == "cases") {
      read_cases(entry.second, spec);
    } else if (key == "grid") {
      read_grid(entry.second, spec);
    } else if (key == "stages") {
      read_stages(entry.second, spec);
    } else {
      const std::string near = closest_match(key, kKeys);
      fail_at(entry.first, fmt::format("unknown key '{}'{}", key,
                                       near.empty() ? "" : "; did you mean '" + near + "'?"));
    }
  }
  if (spec.command.empty()) fail_usage("'command' is missing");
  if (spec.grid.empty() && spec.cases.empty()) {
    fail_usage("'grid' and 'cases' are missing: there is nothing to vary");
  }
  check_size(spec);
  if (spec.stages.empty()) spec.stages.emplace_back();
  return spec;
}

std::string file_name(const SweepOptions& choice) {
  std::string name;
  for (const auto& [option, value] : choice) {
    if (!name.empty()) name += ',';
    if (option != kCase) name.append(option).append("=");
    for (const char c : value) {
      const bool plain =
          std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '.' || c == '-' || c == '_';
      name += plain ? c : '_';
    }
  }
  return name;
}

}  // namespace

SweepSpec parse_sweep(std::string_view yaml, const std::string& where) {
  return with_context(where, [&] {
    try {
      return read(YAML::Load(std::string(yaml)));
    } catch (const YAML::Exception& error) {
      fail_usage("line {}: {}", error.mark.line + 1, error.msg);
    }
  });
}

std::vector<std::string> choice_names(const SweepSpec& spec) {
  std::vector<std::string> names;
  if (!spec.cases.empty()) names.emplace_back(kCase);
  for (const auto& [option, values] : spec.grid) names.push_back(option);
  return names;
}

std::vector<SweepCell> sweep_cells(const SweepSpec& spec) {
  std::vector<SweepCell> cells;
  for (const auto& [name, options] : spec.cases) cells.push_back({"", {{kCase, name}}, options});
  if (cells.empty()) cells.emplace_back();
  for (const auto& [option, values] : spec.grid) {
    std::vector<SweepCell> more;
    for (const SweepCell& cell : cells) {
      for (const std::string& value : values) {
        SweepCell& next = more.emplace_back(cell);
        next.choice.emplace_back(option, value);
        next.options.emplace_back(option, value);
      }
    }
    cells = std::move(more);
  }
  std::set<std::string> names;
  for (size_t i = 0; i < cells.size(); ++i) {
    cells[i].name = file_name(cells[i].choice);
    const bool fits = cells[i].name.size() <= kMaxNameLength;
    if (!fits || !names.insert(cells[i].name).second) {
      cells[i].name = fmt::format("{},{}", cells[i].name.substr(0, kMaxNameLength), i);
    }
  }
  return cells;
}

std::string cell_config(const SweepSpec& spec, const SweepStage& stage, const SweepCell& cell) {
  SweepOptions options;
  const auto set = [&](const SweepOptions& more) {
    for (const auto& [name, value] : more) {
      const auto found = std::ranges::find(options, name, &SweepOptions::value_type::first);
      if (found != options.end()) {
        found->second = value;
      } else {
        options.emplace_back(name, value);
      }
    }
  };
  set(spec.options);
  set(stage.options);
  set(cell.options);
  std::string text;
  for (const auto& [name, value] : options) text += name + ": " + value + "\n";
  return text;
}

}  // namespace yoloquant::pipeline

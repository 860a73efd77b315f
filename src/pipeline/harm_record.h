#pragma once

#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/run_file.h"

namespace yoloquant::pipeline {

// Harms by which bits are chosen, kept in a file beside the state of methods: a run that goes on
// after an interruption does not measure them again.
class HarmRecord {
 public:
  // Keeps nothing.
  HarmRecord() = default;
  // `fingerprint` tells runs apart, as in quant::MethodState.
  HarmRecord(std::filesystem::path path, std::string fingerprint);

  bool exists() const { return file_.exists(); }
  // The harms that an interrupted run has left; nothing where it got no further than to begin.
  // Error for those of another run, and unless there are `count` of them.
  std::optional<std::vector<double>> read(size_t count) const;
  void write(std::span<const double> harms) const;
  void remove() const { file_.remove(); }

 private:
  RunFile file_;
};

}  // namespace yoloquant::pipeline

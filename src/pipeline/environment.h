#pragma once

#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>

namespace yoloquant::pipeline {

struct Environment {
  std::string yoloquant_version;
  std::string git_hash;  // of the source when built in a git checkout; "" otherwise
  std::string compiler;
  std::map<std::string, std::string> libraries;  // "onnxruntime" -> "1.31.1"
  std::string operating_system;
  std::string cpu_model;
  int cpus = 0;  // that this process may use
  double memory_bytes = 0;
  std::vector<std::string> gpus;  // names, as the driver says
};

// What this program runs on. `libraries` holds what this layer can name without LibTorch.
Environment environment();
nlohmann::ordered_json environment_json(const Environment& environment);

// Version and, where known, source hash: part of every stage's key.
std::string code_version();

}  // namespace yoloquant::pipeline

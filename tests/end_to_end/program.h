#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "support/temporary_folder.h"

namespace yoloquant::test {

// What one use of the program left.
struct Outcome {
  int status = -1;
  std::string out;
  std::string err;

  nlohmann::json json() const { return nlohmann::json::parse(out); }
};

std::filesystem::path yoloquant_program();

// Runs `yoloquant ARGUMENTS` through the shell, in `folder`.
Outcome yoloquant(const std::string& arguments, const std::filesystem::path& folder = "/tmp");

// A data set of rendered shapes and a model of a few thousand weights with its classes, made once.
struct TinyExample {
  TemporaryFolder folder;
  std::filesystem::path coco;   // 6 training and 6 validation images
  std::filesystem::path model;  // a definition
};
const TinyExample& tiny_example();

}  // namespace yoloquant::test

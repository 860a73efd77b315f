#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <string>

namespace yoloquant::test {

// Folder with the real images, weights and golden values: $YOLOQUANT_SHARED, or ../shared beside
// the source tree. Empty when there is none.
std::filesystem::path shared_data();

// The source tree and the build tree of these tests.
std::filesystem::path source_folder();
std::filesystem::path build_folder();

// Python of the dependency folder (with torch, numpy, onnx, pycocotools); empty when missing.
std::string python();

// Runs a shell command; returns its exit status and, in *output, its stdout and stderr.
int run_command(const std::string& command, std::string* output);

}  // namespace yoloquant::test

// Skips the running test when the real data is not there.
#define YQ_REQUIRE_SHARED()                   \
  if (yoloquant::test::shared_data().empty()) \
  GTEST_SKIP() << "needs real data: put it in ../shared or set YOLOQUANT_SHARED"

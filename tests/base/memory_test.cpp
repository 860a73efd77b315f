#include "base/memory.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <span>
#include <string>

#include "base/error.h"

namespace yoloquant {
namespace {

TEST(Pages, AreZeroAndWritable) {
  constexpr size_t kBytes = size_t{3} << 20;
  auto* pages = static_cast<unsigned char*>(allocate_pages(kBytes));
  const std::span<unsigned char> bytes(pages, kBytes);
  EXPECT_TRUE(std::ranges::all_of(bytes, [](unsigned char byte) { return byte == 0; }));
  std::ranges::fill(bytes, 7);
  EXPECT_EQ(bytes.back(), 7);
  free_pages(pages, kBytes);
}

TEST(Pages, OfMoreThanThereIsAreRefused) {
  try {
    allocate_pages(std::numeric_limits<size_t>::max() / 2);
    FAIL() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("memory"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace yoloquant

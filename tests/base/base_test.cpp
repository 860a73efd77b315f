#include <gtest/gtest.h>

#include <atomic>
#include <fstream>
#include <numeric>

#include "base/error.h"
#include "base/file.h"
#include "base/parallel.h"
#include "base/random.h"
#include "base/text.h"
#include "support/temporary_folder.h"

namespace yoloquant {
namespace {

TEST(Error, ReadsFromTheOutsideIn) {
  try {
    with_context("model.pt", [] { with_context("data.pkl", [] { fail("byte {}: bad", 7); }); });
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "model.pt: data.pkl: byte 7: bad");
    EXPECT_EQ(error.exit_status(), 1);
  }
  EXPECT_EQ(Error("x", Error::Kind::kUsage).exit_status(), 2);
}

TEST(AtomicFile, LeavesNothingWithoutCommit) {
  const test::TemporaryFolder folder;
  write_file(folder / "a.txt", std::string_view("old"));
  EXPECT_THROW(write_file(folder / "a.txt",
                          [](std::ostream& stream) {
                            stream << "half of the new";
                            fail("stop");
                          }),
               Error);
  EXPECT_EQ(read_file(folder / "a.txt"), "old");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 1);
}

TEST(AtomicFile, MakesParentFoldersAndReplaces) {
  const test::TemporaryFolder folder;
  write_file(folder / "b/c/a.txt", std::string_view("1"));
  write_file(folder / "b/c/a.txt", std::string_view("22"));
  EXPECT_EQ(read_file(folder / "b/c/a.txt"), "22");
}

TEST(MappedFile, SaysWhatIsWrong) {
  EXPECT_THROW(MappedFile("/nonexistent/file"), Error);
  EXPECT_THROW(MappedFile("/"), Error);
}

TEST(Sha256, MatchesTheStandardsExample) {
  EXPECT_EQ(sha256("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST(Random, IsTheSameEverywhere) {
  EXPECT_EQ(fnv1a64("a"), 0xAF63DC4C8601EC8CULL);
  Random random(0);
  EXPECT_EQ(random.next(), 0xE220A8397B1DCDAFULL);  // first output of SplitMix64, seed 0
  std::vector<int> items(100);
  std::iota(items.begin(), items.end(), 0);
  random.shuffle(items);
  EXPECT_FALSE(std::is_sorted(items.begin(), items.end()));
  std::sort(items.begin(), items.end());
  EXPECT_EQ(items.back(), 99);
}

TEST(ParallelFor, VisitsEachItemOnceAndRethrows) {
  std::vector<std::atomic<int>> visits(1000);
  parallel_for(visits.size(), 4, [&](size_t i) { ++visits[i]; });
  for (const auto& count : visits) EXPECT_EQ(count, 1);
  EXPECT_THROW(parallel_for(100, 4, [](size_t i) { i == 50 ? fail("item") : void(); }), Error);
  std::atomic<size_t> total{0};
  parallel_for_blocks(10, 3, [&](size_t begin, size_t end) { total += end - begin; });
  EXPECT_EQ(total, 10U);
  parallel_for(0, 3, [](size_t) { FAIL(); });
}

TEST(Text, MatchesGlobsAndSuggests) {
  EXPECT_TRUE(glob_match("model.23.*", "model.23.cv2.0.0.conv"));
  EXPECT_FALSE(glob_match("model.2.*", "model.23.cv2"));
  const std::vector<std::string> keys = {"scheme", "head", "calib"};
  EXPECT_EQ(closest_match("schem", keys), "scheme");
  EXPECT_EQ(closest_match("zzzzzz", keys), "");
  EXPECT_EQ(human_bytes(1536), "1.5 KiB");
  EXPECT_EQ(human_seconds(74.2), "1 min 14 s");
}

TEST(Text, TimesHaveUnits) {
  EXPECT_EQ(parse_seconds("90"), 90);
  EXPECT_EQ(parse_seconds("90s"), 90);
  EXPECT_EQ(parse_seconds("10m"), 600);
  EXPECT_EQ(parse_seconds("1.5 h"), 5400);
  for (const char* text : {"", "m", "10x", "-1m", "0", "nan", "inf", "1e999"}) {
    EXPECT_THROW(parse_seconds(text), Error) << text;
  }
}

}  // namespace
}  // namespace yoloquant

#include "pipeline/run_root.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "base/error.h"
#include "base/file.h"
#include "support/error_of.h"
#include "support/temporary_folder.h"

namespace yoloquant::pipeline {
namespace {

using test::error_of;
using testing::HasSubstr;

JournalEntry entry(const std::string& stage, const std::string& key) {
  return {stage, key, {{"a.txt", "00"}}, 1.5};
}

TEST(RunRoot, KeepsItsJournal) {
  const test::TemporaryFolder folder;
  {
    RunRoot root(folder / "run", RunMode::kNew);
    root.append(entry("one", "k1"));
    root.append(entry("two", "k2"));
    root.append(entry("one", "k3"));
  }
  const RunRoot root(folder / "run", RunMode::kResume);
  ASSERT_EQ(root.journal().size(), 3U);
  EXPECT_EQ(root.journal()[1].stage, "two");
  ASSERT_TRUE(root.find("one", "k1").has_value());
  EXPECT_EQ(root.find("one", "k1")->outputs.at("a.txt"), "00");
  EXPECT_EQ(root.find("one", "k1")->seconds, 1.5);
  EXPECT_FALSE(root.find("two", "k1").has_value());
}

TEST(RunRoot, SecondRunAtWorkIsRefused) {
  const test::TemporaryFolder folder;
  const RunRoot first(folder / "run", RunMode::kNew);
  EXPECT_THAT(error_of([&] { RunRoot(folder / "run", RunMode::kResume); }),
              HasSubstr("another run is at work"));
}

TEST(RunRoot, FinishedRunIsNotOverwritten) {
  const test::TemporaryFolder folder;
  {
    RunRoot(folder / "run", RunMode::kNew).append(entry("one", "k"));
  }
  EXPECT_THAT(error_of([&] { RunRoot(folder / "run", RunMode::kNew); }), HasSubstr("--resume"));
}

TEST(RunRoot, NothingToResume) {
  const test::TemporaryFolder folder;
  EXPECT_THAT(error_of([&] { RunRoot(folder / "run", RunMode::kResume); }),
              HasSubstr("no run to resume"));
  EXPECT_FALSE(std::filesystem::exists(folder / "run"));
}

TEST(RunRoot, CutOffLastLineIsDropped) {
  const test::TemporaryFolder folder;
  {
    RunRoot(folder / "run", RunMode::kNew).append(entry("one", "k1"));
  }
  const auto journal = folder / "run/journal.jsonl";
  const std::string whole = read_file(journal);
  for (const size_t kept : {size_t{1}, whole.size() / 2, whole.size() - 1}) {
    write_file(journal, whole + whole.substr(0, kept));
    RunRoot root(folder / "run", RunMode::kResume);
    EXPECT_EQ(root.journal().size(), 1U) << kept;
    EXPECT_EQ(read_file(journal), whole) << kept;
  }
}

TEST(RunRoot, BadLineInTheMiddleIsAnError) {
  const test::TemporaryFolder folder;
  {
    RunRoot(folder / "run", RunMode::kNew).append(entry("one", "k1"));
  }
  const auto journal = folder / "run/journal.jsonl";
  for (const char* bad :
       {"nonsense", "{}", R"({"stage": 1, "key": "", "outputs": {}, "seconds": 0})", "[[[[", ""}) {
    const std::string whole = read_file(journal);
    write_file(journal, std::string(bad) + "\n" + whole);
    EXPECT_THAT(error_of([&] { RunRoot(folder / "run", RunMode::kResume); }),
                HasSubstr("journal.jsonl, line 1"))
        << bad;
    write_file(journal, whole);
  }
}

TEST(RunRoot, LeftOversOfAKilledRunAreRemoved) {
  const test::TemporaryFolder folder;
  {
    RunRoot(folder / "run", RunMode::kNew).append(entry("one", "k1"));
  }
  const auto left = folder / "run/onnx/.model.12.0.tmp.onnx";
  std::filesystem::create_directories(left.parent_path());
  write_file(left, "half");
  write_file(folder / "run/onnx/model.onnx", "whole");
  const RunRoot root(folder / "run", RunMode::kResume);
  EXPECT_FALSE(std::filesystem::exists(left));
  EXPECT_TRUE(std::filesystem::exists(folder / "run/onnx/model.onnx"));
}

TEST(RunRoot, LogGrows) {
  const test::TemporaryFolder folder;
  {
    RunRoot(folder / "run", RunMode::kNew).log("first {} line");
  }
  {
    RunRoot(folder / "run", RunMode::kResume).log("second");
  }
  const std::string text = read_file(folder / "run/logs/run.log");
  EXPECT_LT(text.find("first {} line"), text.find("second"));
}

TEST(RunRoot, RunIdsSortByTimeAndDiffer) {
  const std::string first = make_run_id();
  EXPECT_EQ(first.size(), std::string("20260314-152637-5f3a").size());
  EXPECT_LE(first.substr(0, 15), make_run_id().substr(0, 15));
  EXPECT_EQ(default_run_root("/base", "name").parent_path(), "/base/tmp/name");
}

}  // namespace
}  // namespace yoloquant::pipeline

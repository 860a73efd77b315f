#include "report/tensorboard.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <nlohmann/json.hpp>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "support/shared_data.h"
#include "support/temporary_folder.h"

namespace yoloquant::report {
namespace {

using yoloquant::test::TemporaryFolder;

template <typename T>
T number_at(const std::string& bytes, size_t at) {
  T value{};
  std::memcpy(&value, bytes.substr(at).data(), sizeof value);
  return value;
}

// The data of a file's records, with lengths and CRCs checked.
std::vector<std::string> records_of(const std::filesystem::path& path) {
  const std::string bytes = read_file(path);
  std::vector<std::string> records;
  for (size_t at = 0; at < bytes.size();) {
    EXPECT_LE(at + 16, bytes.size());
    const auto length = number_at<uint64_t>(bytes, at);
    EXPECT_EQ(number_at<uint32_t>(bytes, at + 8), masked_crc32c(bytes.substr(at, 8)));
    records.push_back(bytes.substr(at + 12, length));
    EXPECT_EQ(number_at<uint32_t>(bytes, at + 12 + length), masked_crc32c(records.back()));
    at += 16 + length;
  }
  return records;
}

TEST(TensorBoard, Crc32cHasItsKnownValues) {
  EXPECT_EQ(crc32c(""), 0U);
  EXPECT_EQ(crc32c("123456789"), 0xE3069283U);
  // RFC 3720, B.4.
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8A9136AAU);
  EXPECT_EQ(crc32c(std::string(32, '\xFF')), 0x62A8AB43U);
}

TEST(TensorBoard, FileBeginsAsTensorFlowsDo) {
  const TemporaryFolder folder;
  const TensorBoardWriter writer(folder.path(), 1);
  const std::string bytes = read_file(writer.path());
  // A record of 24 bytes: the time, field 1, and the version, field 3.
  EXPECT_EQ(bytes.substr(0, 13), std::string("\x18\0\0\0\0\0\0\0\xA3\x7FK\"\x09", 13));
  EXPECT_EQ(bytes.substr(21, 15),
            "\x1A\x0D"
            "brain.Event:2");
  EXPECT_THAT(writer.path().filename().string(), testing::StartsWith("events.out.tfevents."));
}

TEST(TensorBoard, EventHasTagsAndValues) {
  const TemporaryFolder folder;
  TensorBoardWriter writer(folder.path(), 7);
  const std::vector<TensorBoardWriter::Scalar> scalars{{"a", 1.0}, {"b", -2.5}};
  writer.add(300, scalars);
  writer.flush();
  const auto records = records_of(writer.path());
  ASSERT_EQ(records.size(), 3U);
  // step 7, session_log with status START.
  EXPECT_EQ(records[1].substr(9), "\x10\x07\x3A\x02\x08\x01");
  // step 300, then a summary of two values of 3 + 5 bytes.
  EXPECT_EQ(records[2].substr(9), std::string("\x10\xAC\x02\x2A\x14"
                                              "\x0A\x08\x0A\x01"
                                              "a\x15\x00\x00\x80\x3F"
                                              "\x0A\x08\x0A\x01"
                                              "b\x15\x00\x00\x20\xC0",
                                              25));
}

TEST(TensorBoard, NewFileSortsBehindTheOthers) {
  const TemporaryFolder folder;
  std::vector<std::string> names;
  for (int i = 0; i < 3; ++i) names.push_back(TensorBoardWriter(folder.path(), 1).path().string());
  write_file(folder / "events.out.tfevents.3000000000.other", "");
  names.push_back((folder / "events.out.tfevents.3000000000.other").string());
  names.push_back(TensorBoardWriter(folder.path(), 1).path().string());
  for (size_t i = 1; i < names.size(); ++i) EXPECT_LT(names[i - 1], names[i]);
}

TEST(TensorBoard, FolderThatIsAFileIsAnError) {
  const TemporaryFolder folder;
  write_file(folder / "file", "");
  EXPECT_THROW(TensorBoardWriter(folder / "file", 1), Error);
}

TEST(TensorBoard, RealPackageReadsItAndDropsWhatWasRestarted) {
  const std::string python = yoloquant::test::python();
  std::string output;
  if (python.empty() || yoloquant::test::run_command(
                            "'" + python + "' -c 'import tensorboard.version'", &output) != 0) {
    GTEST_SKIP() << "needs Python's tensorboard: run scripts/setup.sh";
  }
  const TemporaryFolder folder;
  const auto write = [&](TensorBoardWriter& writer, int64_t first, int64_t last, double value) {
    for (int64_t step = first; step <= last; ++step) {
      const std::vector<TensorBoardWriter::Scalar> scalars{
          {"metrics/mAP50-95(B)", value + static_cast<double>(step)}, {"lr/pg0", 0.01}};
      writer.add(step, scalars);
    }
    writer.flush();
  };
  {
    TensorBoardWriter writer(folder.path(), 1);
    write(writer, 1, 5, 0);
    writer.restart(4);  // goes back within one file
    write(writer, 4, 6, 100);
  }
  // What a killed process leaves: half a record.
  for (const auto& entry : std::filesystem::directory_iterator(folder.path())) {
    std::ofstream(entry.path(), std::ios::app | std::ios::binary) << tf_record("half").substr(0, 9);
  }
  TensorBoardWriter writer(folder.path(), 3);  // and in a second one
  write(writer, 3, 3, 1000);

  std::ofstream(folder / "read.py") << R"(
import json, sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
events = EventAccumulator(sys.argv[1])
events.Reload()
print(json.dumps({tag: [[e.step, e.value] for e in events.Scalars(tag)]
                  for tag in events.Tags()["scalars"]}))
)";
  const int status = yoloquant::test::run_command(
      "'" + python + "' '" + (folder / "read.py").string() + "' '" + folder.path().string() +
          "' 2>'" + (folder / "messages").string() + "'",
      &output);
  ASSERT_EQ(status, 0) << output << read_file(folder / "messages");
  const auto read = nlohmann::json::parse(output);
  EXPECT_EQ(read.at("metrics/mAP50-95(B)").dump(), "[[1,1.0],[2,2.0],[3,1003.0]]");
  EXPECT_EQ(read.at("lr/pg0").size(), 3U);
}

}  // namespace
}  // namespace yoloquant::report

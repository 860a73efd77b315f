#include "checkpoint/torch_archive.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

#include "checkpoint/checkpoint.h"
#include "checkpoint/pickle_bytes.h"
#include "checkpoint/pickle_writer.h"
#include "checkpoint/small_archive.h"
#include "checkpoint/value_text.h"
#include "support/error_of.h"
#include "support/temporary_folder.h"

namespace yoloquant::checkpoint {
namespace {

using test::bytes_of;
using test::global;
using test::le32;
using test::text;
using ::testing::HasSubstr;
using yoloquant::test::TemporaryFolder;

// An archive with this pickle and one record data/0 of 16 bytes.
std::string archive_with(const std::string& body, std::string_view order = "little") {
  std::ostringstream stream;
  ZipWriter writer(stream);
  writer.add("archive/data.pkl", test::protocol2(body));
  writer.add("archive/byteorder", order);
  writer.add("archive/data/0", std::string(16, '\x01'));
  writer.finish();
  return stream.str();
}

Value read_archive(const std::string& archive) {
  auto owner = std::make_shared<const std::string>(archive);
  return read_torch_bytes(bytes_of(*owner), owner);
}

std::string error_of(const std::string& archive) {
  return yoloquant::test::error_of(
      [&] { load_tensors(*std::make_unique<Value>(read_archive(archive))); });
}

std::string storage(const std::string& type, const std::string& key, int count) {
  return std::string("(") + text("storage") + global("torch", type) + text(key) + text("cpu") +
         "J" + le32(static_cast<uint32_t>(count)) + "tQ";
}

// A one-dimensional tensor.
std::string tensor_pickle(const std::string& from, int offset, int size, int stride) {
  const auto number = [](int value) {
    return std::string("J") + le32(static_cast<uint32_t>(value));
  };
  return global("torch._utils", "_rebuild_tensor_v2") + "(" + from + number(offset) + number(size) +
         "\x85" + number(stride) + "\x85\x89" + global("collections", "OrderedDict") + ")RtR";
}

TEST(TorchArchive, Tensors) {
  const Tensor half =
      read_archive(archive_with(tensor_pickle(storage("HalfStorage", "0", 8), 2, 3, 2))).tensor();
  EXPECT_EQ(half.dtype(), DType::kFloat16);
  EXPECT_EQ(half.shape(), Shape{3});
  EXPECT_EQ(half.half_bits()[0], 0x0101);
}

TEST(TorchArchive, TensorsKeepTheFileAlive) {
  TemporaryFolder folder;
  Value value;
  {
    write_torch_file(folder / "a.pt", Value(Tensor::from<float>({2}, std::vector<float>{1, 2})));
    value = read_torch_file(folder / "a.pt");
    std::filesystem::remove(folder / "a.pt");
  }
  EXPECT_FALSE(value.tensor_view().is_loaded());
  load_tensors(value);
  EXPECT_TRUE(value.tensor_view().is_loaded());
  EXPECT_EQ(value.tensor().data<float>()[1], 2.0F);
}

TEST(TorchArchive, MalformedTensors) {
  EXPECT_THAT(error_of(archive_with(tensor_pickle(storage("FloatStorage", "0", 4), 1, 4, 1))),
              HasSubstr("reaches outside of storage 0"));
  EXPECT_THAT(error_of(archive_with(tensor_pickle(storage("FloatStorage", "0", 5), 0, 1, 1))),
              HasSubstr("declares 5 elements, its record has 16 bytes"));
  EXPECT_THAT(error_of(archive_with(tensor_pickle(storage("FloatStorage", "0", -1), 0, 1, 1))),
              HasSubstr("declares -1 elements"));
  EXPECT_THAT(error_of(archive_with(tensor_pickle(storage("FloatStorage", "9", 4), 0, 1, 1))),
              HasSubstr("lacks the record archive/data/9"));
  EXPECT_THAT(
      error_of(archive_with(tensor_pickle(storage("ComplexFloatStorage", "0", 2), 0, 1, 1))),
      HasSubstr("torch.ComplexFloatStorage are not supported"));
  EXPECT_THAT(error_of(archive_with(tensor_pickle("K\x01", 0, 1, 1))),
              HasSubstr("expected a storage, found an integer"));
}

TEST(TorchArchive, HugeViewOfASmallStorage) {
  EXPECT_THAT(
      error_of(archive_with(tensor_pickle(storage("ByteStorage", "0", 16), 0, 2'000'000'000, 0))),
      HasSubstr("far larger than the file"));
  EXPECT_EQ(error_of(archive_with(tensor_pickle(storage("ByteStorage", "0", 16), 0, 1000, 0))), "");
}

TEST(TorchArchive, ManyLargeViewsOfASmallStorage) {
  const std::string one = tensor_pickle(storage("ByteStorage", "0", 16), 0, 10'000'000, 0);
  EXPECT_EQ(error_of(archive_with(one)), "");
  EXPECT_THAT(error_of(archive_with(std::string("(") + one + one + one + "t")),
              HasSubstr("far larger than the file"));
}

TEST(TorchArchive, OtherFiles) {
  EXPECT_THAT(error_of("hello"), HasSubstr("no zip archive"));
  EXPECT_THAT(error_of(""), HasSubstr("no zip archive"));
  EXPECT_THAT(error_of("\x80\x02\x8A\x0A\x6C\xFC\x9C\x46\xF9\x20\x6A\xA8\x50\x19."),
              HasSubstr("torch before 1.6"));
  EXPECT_THAT(error_of(archive_with("N", "big")), HasSubstr("big-endian"));
  std::ostringstream stream;
  ZipWriter writer(stream);
  writer.add("a/b", "c");
  writer.finish();
  EXPECT_THAT(error_of(stream.str()), HasSubstr("has no data.pkl"));
}

TEST(TorchArchive, ErrorsNameFileAndByte) {
  TemporaryFolder folder;
  write_file(folder / "bad.pt", archive_with("h\x07"));
  try {
    read_torch_file(folder / "bad.pt");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(std::string(error.what()),
              (folder / "bad.pt").string() + ": data.pkl, byte 2: memo index 7 was never stored");
  }
}

TEST(TorchArchive, NothingRuns) {
  TemporaryFolder folder;
  const std::string command = "touch " + (folder / "made").string();
  const Value value = read_archive(archive_with(global("os", "system") + text(command) + "\x85R"));
  EXPECT_EQ(value.as_object().type_name(), "os.system");
  EXPECT_FALSE(std::filesystem::exists(folder / "made"));
}

TEST(TorchArchive, RoundTripOfAllKinds) {
  TemporaryFolder folder;
  const Tensor tensor = Tensor::from<float>({2}, std::vector<float>{1, 2});
  const Value shared = tensor;
  Value root = Value::dict({{"none", {}},
                            {"bools", Value::tuple({true, false})},
                            {"ints", Value::list({0, 255, 256, -1, int64_t{1} << 40, INT64_MIN})},
                            {"big", Value(BigInt{"-18446744073709551617"})},
                            {"float", 0.1},
                            {"text", "caf\xC3\xA9"},
                            {"bytes", Value(Bytes{"\xFF\x01z"})},
                            {"set", Value::set({1, 2})},
                            {"empty", Value::tuple()},
                            {"dtype", Value(Global{"torch", "float16"})},
                            {"ordered", Value::ordered_dict({{3, "x"}})},
                            {"a", shared},
                            {"b", shared},
                            {"copy", tensor}});
  const Value list = Value::list({1});
  root.set_item("same", Value::list({list, list}));
  write_torch_file(folder / "a.pt", root);
  Value back = read_torch_file(folder / "a.pt");
  EXPECT_EQ(to_json(back), to_json(root));
  EXPECT_TRUE(back.find("ordered")->is_ordered_dict());
  EXPECT_EQ(back.find("same")->items()[0].identity(), back.find("same")->items()[1].identity());
  EXPECT_TRUE(equal(back.find("b")->tensor(), tensor));
  EXPECT_EQ(write_pickle_with_tensors(root).storages.size(), 2U);  // copies are separate
}

TEST(TorchArchive, WhatCannotBeWrittenIsNamed) {
  Object object;
  object.type = Value(Global{"m", "C"});
  const Value root = Value::dict(
      {{"optimizer", Value::dict({{"state", Value::list({1, Value(std::move(object))})}})}});
  try {
    write_pickle_with_tensors(root);
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "optimizer.state[1]: an object of class m.C cannot be written");
  }
}

TEST(TorchArchive, ValuesInsideThemselvesCanBeWritten) {
  const std::string pickle = write_pickle_with_tensors(test::read_body("]q\x01h\x01"
                                                                       "a"))
                                 .pickle;
  PickleHooks hooks;
  const Value back = read_pickle(bytes_of(pickle), "p", hooks);
  EXPECT_EQ(back.items()[0].resolve().identity(), back.identity());
}

// ---- Damaged files: each reads or fails, with any damage.

void expect_reads_or_fails(const std::string& archive, bool verify, size_t* failures) {
  TorchReadOptions options;
  options.verify_checksums = verify;
  const auto owner = std::make_shared<const std::string>(archive);
  try {
    Value value = read_torch_bytes(bytes_of(*owner), owner, options);
    load_tensors(value);
  } catch (const Error&) {
    ++*failures;
  }
}

TEST(TorchArchive, TruncatedAtEveryByte) {
  TemporaryFolder folder;
  for (const auto zip64 : {ZipWriter::Zip64::kWhenNeeded, ZipWriter::Zip64::kAlways}) {
    const std::string archive = test::small_archive(folder.path(), zip64);
    EXPECT_EQ(error_of(archive), "");
    size_t failures = 0;
    for (size_t size = 0; size < archive.size(); ++size) {
      expect_reads_or_fails(archive.substr(0, size), true, &failures);
    }
    EXPECT_EQ(failures, archive.size());
  }
}

TEST(TorchArchive, EveryBitFlippedReadsOrFails) {
  TemporaryFolder folder;
  std::string archive = test::small_archive(folder.path());
  for (const bool verify : {true, false}) {
    size_t failures = 0;
    for (size_t bit = 0; bit < archive.size() * 8; ++bit) {
      const auto flip = static_cast<char>(1 << (bit % 8));
      archive[bit / 8] = static_cast<char>(archive[bit / 8] ^ flip);
      expect_reads_or_fails(archive, verify, &failures);
      archive[bit / 8] = static_cast<char>(archive[bit / 8] ^ flip);
    }
    EXPECT_GT(failures, 1000U);
  }
}

TEST(TorchArchive, ReadIntoACheckpointWithEveryByteChanged) {
  TemporaryFolder folder;
  const std::string archive = test::small_archive(folder.path());
  const Checkpoint whole = read(folder / "small.pt");
  EXPECT_EQ(whole.state.size(), 2U);
  ReadOptions options;
  options.verify_checksums = false;
  size_t failures = 0;
  for (size_t at = 0; at < archive.size(); ++at) {
    auto damaged = std::make_shared<std::string>(archive);
    (*damaged)[at] = static_cast<char>((*damaged)[at] + 1 + at % 250);
    try {
      read_bytes(bytes_of(*damaged), damaged, options);
    } catch (const Error&) {
      ++failures;
    }
  }
  EXPECT_GT(failures, 100U);
}

}  // namespace
}  // namespace yoloquant::checkpoint

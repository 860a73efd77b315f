#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

#include "base/error.h"
#include "checkpoint/crc32.h"
#include "checkpoint/pickle_bytes.h"
#include "checkpoint/zip_archive.h"
#include "checkpoint/zip_writer.h"
#include "support/error_of.h"

namespace yoloquant::checkpoint {
namespace {

using test::bytes_of;
using ::testing::HasSubstr;

std::string make_archive(ZipWriter::Zip64 zip64 = ZipWriter::Zip64::kWhenNeeded) {
  std::ostringstream stream;
  ZipWriter writer(stream, zip64);
  writer.add("a/data.pkl", "contents");
  writer.add("a/data/0", std::string(100, 'x'));
  writer.add("a/empty", "");
  writer.finish();
  return stream.str();
}

std::string contents_of(const std::string& archive, std::string_view name) {
  const ZipArchive zip(bytes_of(archive));
  const auto* entry = zip.find(name);
  if (entry == nullptr) fail("no entry");
  const auto bytes = zip.contents(*entry);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::string error_of(const std::string& archive, std::string_view name = "a/data.pkl") {
  return yoloquant::test::error_of([&] { contents_of(archive, name); });
}

TEST(Crc32, KnownValues) {
  EXPECT_EQ(crc32(bytes_of("")), 0U);
  EXPECT_EQ(crc32(bytes_of("123456789")), 0xCBF43926U);
  EXPECT_EQ(crc32(bytes_of("The quick brown fox jumps over the lazy dog")), 0x414FA339U);
}

TEST(Zip, RoundTripWithAndWithoutZip64) {
  for (const auto zip64 : {ZipWriter::Zip64::kWhenNeeded, ZipWriter::Zip64::kAlways}) {
    const std::string archive = make_archive(zip64);
    EXPECT_EQ(contents_of(archive, "a/data.pkl"), "contents");
    EXPECT_EQ(contents_of(archive, "a/data/0"), std::string(100, 'x'));
    EXPECT_EQ(contents_of(archive, "a/empty"), "");
    EXPECT_EQ(ZipArchive(bytes_of(archive)).find("b"), nullptr);
  }
}

TEST(Zip, ContentsAreAligned) {
  const std::string archive = make_archive();
  const ZipArchive zip(bytes_of(archive));
  for (const auto& entry : zip.entries()) {
    const auto offset =
        zip.contents(entry).data() - reinterpret_cast<const std::byte*>(archive.data());
    EXPECT_EQ(offset % 64, 0);
  }
}

TEST(Zip, ManyEntriesNeedZip64) {
  std::ostringstream stream;
  ZipWriter writer(stream);
  for (int i = 0; i < 66'000; ++i) writer.add(std::to_string(i), "x");
  writer.finish();
  const std::string archive = stream.str();
  const ZipArchive zip(bytes_of(archive));
  EXPECT_EQ(zip.entries().size(), 66'000U);
  EXPECT_NE(zip.find("65999"), nullptr);
}

TEST(Zip, CommentAtTheEnd) {
  std::string archive = make_archive();
  archive[archive.size() - 2] = 5;
  EXPECT_EQ(contents_of(archive + "hello", "a/data.pkl"), "contents");
}

TEST(Zip, DamagedContents) {
  std::string archive = make_archive();
  archive[archive.find("contents")] = 'C';
  EXPECT_THAT(error_of(archive), HasSubstr("zip entry a/data.pkl: checksum does not match"));
}

TEST(Zip, CompressedEntry) {
  std::string archive = make_archive();
  archive[archive.find("PK\x01\x02") + 10] = 8;
  EXPECT_THAT(error_of(archive), HasSubstr("is compressed"));
}

TEST(Zip, SameNameTwice) {
  std::ostringstream stream;
  ZipWriter writer(stream);
  writer.add("a", "1");
  writer.add("a", "2");
  writer.finish();
  EXPECT_THAT(error_of(stream.str()), HasSubstr("is there twice"));
}

TEST(Zip, TruncatedAtEveryByte) {
  for (const auto zip64 : {ZipWriter::Zip64::kWhenNeeded, ZipWriter::Zip64::kAlways}) {
    const std::string archive = make_archive(zip64);
    for (size_t size = 0; size < archive.size(); ++size) {
      EXPECT_NE(error_of(archive.substr(0, size)), "") << size;
    }
  }
}

TEST(Zip, EveryBitFlippedReadsOrFails) {
  for (const auto zip64 : {ZipWriter::Zip64::kWhenNeeded, ZipWriter::Zip64::kAlways}) {
    std::string archive = make_archive(zip64);
    size_t read = 0;
    for (size_t bit = 0; bit < archive.size() * 8; ++bit) {
      const auto flip = static_cast<char>(1 << (bit % 8));
      archive[bit / 8] = static_cast<char>(archive[bit / 8] ^ flip);
      if (error_of(archive).empty()) ++read;
      archive[bit / 8] = static_cast<char>(archive[bit / 8] ^ flip);
    }
    EXPECT_GT(read, 0U);
    EXPECT_LT(read, archive.size() * 8);
  }
}

}  // namespace
}  // namespace yoloquant::checkpoint

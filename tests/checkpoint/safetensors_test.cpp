#include "checkpoint/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/pickle_bytes.h"
#include "support/error_of.h"
#include "support/temporary_folder.h"

namespace yoloquant::checkpoint {
namespace {

using ::testing::HasSubstr;
using yoloquant::test::TemporaryFolder;

Safetensors example() {
  Safetensors contents;
  contents.tensors["b"] = Tensor::from<float>({2, 1}, std::vector<float>{1, 2});
  contents.tensors["a"] = Tensor::from<int8_t>({3}, std::vector<int8_t>{1, -2, 3});
  contents.tensors["n"] = Tensor::from<int64_t>({}, std::vector<int64_t>{7});
  contents.tensors["h"] = Tensor::from<float>({1}, std::vector<float>{0.5F}).to(DType::kBFloat16);
  contents.tensors["none"] = Tensor(DType::kFloat16, {0, 4});
  contents.metadata["names"] = "{\"0\": \"a \\\"b\\\"\"}";
  return contents;
}

std::string error_of(const std::string& bytes) {
  return yoloquant::test::error_of([&] { read_safetensors_bytes(test::bytes_of(bytes)); });
}

TEST(Safetensors, RoundTrip) {
  TemporaryFolder folder;
  const Safetensors contents = example();
  write_safetensors(folder / "a.safetensors", contents);
  const Safetensors back = read_safetensors(folder / "a.safetensors");
  EXPECT_EQ(back.metadata, contents.metadata);
  ASSERT_EQ(back.tensors.size(), contents.tensors.size());
  for (const auto& [name, tensor] : contents.tensors) {
    EXPECT_TRUE(equal(back.tensors.at(name), tensor)) << name;
  }
}

TEST(Safetensors, MalformedFiles) {
  const auto error_with = [](const std::string& header, const std::string& data) {
    return error_of(test::le64(header.size()) + header + data);
  };
  const std::string four(4, '\0');
  EXPECT_EQ(error_with(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", four), "");
  EXPECT_THAT(error_with(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}})", four),
              HasSubstr("a: 4 bytes for 2 elements"));
  EXPECT_THAT(error_with(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,8]}})", four),
              HasSubstr("lie outside of the data"));
  EXPECT_THAT(error_with(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}})", four),
              HasSubstr("lie outside of the data"));
  EXPECT_THAT(error_with(R"({"a":{"dtype":"F8","shape":[1],"data_offsets":[0,4]}})", four),
              HasSubstr("type F8"));
  EXPECT_THAT(error_with(R"({"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}})", four),
              HasSubstr("negative dimension"));
  EXPECT_THAT(error_with(R"({"a":{"shape":[1],"data_offsets":[0,4]}})", four),
              HasSubstr("dtype is missing"));
  EXPECT_THAT(
      error_with(R"({"a":{"dtype":"F32","shape":[9223372036854775807,4],"data_offsets":[0,4]}})",
                 four),
      HasSubstr("too large"));
  EXPECT_THAT(error_with(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
                         R"("b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})",
                         four),
              HasSubstr("overlap"));
  EXPECT_THAT(error_with("[1]", four), HasSubstr("expected a dict, found a list"));
  EXPECT_THAT(error_with("{\"a\"", four), HasSubstr("malformed JSON"));
  EXPECT_THAT(error_of(test::le64(1000) + "{}"), HasSubstr("header of 1000 bytes"));
}

TEST(Safetensors, TruncatedAtEveryByteAndEveryBitFlipped) {
  TemporaryFolder folder;
  write_safetensors(folder / "a.safetensors", example());
  const std::string whole = read_file(folder / "a.safetensors");
  for (size_t size = 0; size < whole.size(); ++size) EXPECT_NE(error_of(whole.substr(0, size)), "");
  size_t failures = 0;
  for (size_t bit = 0; bit < whole.size() * 8; ++bit) {
    std::string damaged = whole;
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << (bit % 8)));
    if (!error_of(damaged).empty()) ++failures;
  }
  EXPECT_GT(failures, 250U);
}

TEST(Safetensors, ForeignMetadataIsKept) {
  TemporaryFolder folder;
  Safetensors contents = example();
  contents.metadata = {{"format", "pt"}, {"names", "no JSON"}, {"author", "somebody"}};
  write_safetensors(folder / "a.safetensors", contents);
  const Checkpoint checkpoint = read(folder / "a.safetensors");
  EXPECT_EQ(checkpoint.source, Source::kSafetensors);
  EXPECT_TRUE(checkpoint.names.empty());
  EXPECT_EQ(checkpoint.extras.find("author")->as_string(), "somebody");
  EXPECT_EQ(checkpoint.extras.find("names")->as_string(), "no JSON");
}

}  // namespace
}  // namespace yoloquant::checkpoint

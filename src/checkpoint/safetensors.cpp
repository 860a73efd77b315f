#include "checkpoint/safetensors.h"

#include <algorithm>
#include <array>
#include <optional>

#include "base/file.h"
#include "checkpoint/byte_reader.h"
#include "checkpoint/value_text.h"

namespace yoloquant::checkpoint {

namespace {

constexpr uint64_t kMaxHeader = 100'000'000;  // the reference implementation's limit
constexpr size_t kPrefix = 8;
constexpr size_t kAlignment = 8;

constexpr std::array<std::pair<DType, std::string_view>, 10> kNames = {{
    {DType::kFloat32, "F32"},
    {DType::kFloat16, "F16"},
    {DType::kBFloat16, "BF16"},
    {DType::kFloat64, "F64"},
    {DType::kInt8, "I8"},
    {DType::kUInt8, "U8"},
    {DType::kInt16, "I16"},
    {DType::kInt32, "I32"},
    {DType::kInt64, "I64"},
    {DType::kBool, "BOOL"},
}};

std::string_view name_of(DType dtype) {
  return std::ranges::find(kNames, dtype, &std::pair<DType, std::string_view>::first)->second;
}

DType dtype_of_name(std::string_view name) {
  const auto* found = std::ranges::find(kNames, name, &std::pair<DType, std::string_view>::second);
  if (found == kNames.end()) fail("tensors of type {} are not supported", name);
  return found->first;
}

const Value& member(const Value& record, std::string_view key) {
  const Value* found = record.find(key);
  if (found == nullptr) fail("{} is missing", key);
  return *found;
}

Tensor read_tensor(const Value& record, std::span<const std::byte> data) {
  const DType dtype = dtype_of_name(member(record, "dtype").as_string());
  Shape shape;
  for (const Value& dim : member(record, "shape").items()) shape.push_back(dim.as_int());
  const Items& offsets = member(record, "data_offsets").items();
  if (offsets.size() != 2) fail("data_offsets are not two numbers");
  const int64_t begin = offsets[0].as_int();
  const int64_t end = offsets[1].as_int();
  if (begin < 0 || end < begin || static_cast<uint64_t>(end) > data.size()) {
    fail("bytes {} to {} lie outside of the data, which has {}", begin, end, data.size());
  }
  // A window of the file, so that sizes are checked before anything is allocated.
  const auto storage = std::make_shared<Storage>();
  storage->key = "data";
  storage->bytes = data.subspan(static_cast<size_t>(begin), static_cast<size_t>(end - begin));
  Shape strides(shape.size(), 1);
  const int64_t count = element_count(shape);
  if (static_cast<uint64_t>(count) != storage->bytes.size() / element_size(dtype) ||
      storage->bytes.size() % element_size(dtype) != 0) {
    fail("{} bytes for {} elements of {}", storage->bytes.size(), count, dtype_name(dtype));
  }
  for (size_t axis = shape.size(); count > 0 && axis-- > 1;) {
    strides[axis - 1] = strides[axis] * shape[axis];
  }
  return TensorView(storage, dtype, 0, std::move(shape), std::move(strides)).load();
}

void read_metadata(const Value& record, std::map<std::string, std::string>& metadata) {
  for (const auto& [key, text] : record.entries()) metadata[key.as_string()] = text.as_string();
}

}  // namespace

Safetensors read_safetensors_bytes(std::span<const std::byte> bytes) {
  ByteReader reader(bytes);
  const uint64_t header_size = reader.u64();
  if (header_size > kMaxHeader || header_size > reader.left()) {
    fail("header of {} bytes, {} are left: no safetensors file, or cut off", header_size,
         reader.left());
  }
  const std::string_view text = reader.text(header_size);
  const Value header = with_context("header", [&] { return parse_json(text); });
  const auto data = bytes.subspan(reader.position());
  Safetensors contents;
  size_t bytes_left = data.size();
  for (const auto& [key, record] : header.entries()) {
    const std::string& name = key.as_string();
    with_context(name, [&, &entry = record] {
      if (name == "__metadata__") return read_metadata(entry, contents.metadata);
      Tensor tensor = read_tensor(entry, data);
      // Records may not overlap; a header that says so could ask for any amount of memory.
      if (tensor.bytes().size() > bytes_left) fail("the records overlap");
      bytes_left -= tensor.bytes().size();
      contents.tensors.insert_or_assign(name, std::move(tensor));
    });
  }
  return contents;
}

bool is_safetensors(std::span<const std::byte> bytes) {
  if (bytes.size() < kPrefix + 2 || static_cast<char>(bytes[kPrefix]) != '{') return false;
  const auto size = ByteReader(bytes).u64();
  return size <= kMaxHeader && size <= bytes.size() - kPrefix;
}

Safetensors read_safetensors(const std::filesystem::path& path) {
  const MappedFile file(path);
  return with_context(path.string(), [&] { return read_safetensors_bytes(file.bytes()); });
}

void write_safetensors(const std::filesystem::path& path, const Safetensors& contents) {
  // Wide elements first, as the reference implementation does: then all are aligned.
  std::vector<const TensorMap::value_type*> tensors;
  for (const auto& entry : contents.tensors) tensors.push_back(&entry);
  std::ranges::stable_sort(tensors, std::greater<>(), [](const TensorMap::value_type* entry) {
    return element_size(entry->second.dtype());
  });

  Value header = Value::dict();
  if (!contents.metadata.empty()) {
    Value metadata = Value::dict();
    for (const auto& [key, text] : contents.metadata) {
      metadata.mutable_entries().emplace_back(key, text);
    }
    header.mutable_entries().emplace_back("__metadata__", metadata);
  }
  int64_t offset = 0;
  for (const auto* entry : tensors) {
    const Tensor& tensor = entry->second;
    const int64_t end = offset + static_cast<int64_t>(tensor.bytes().size());
    Items shape(tensor.shape().begin(), tensor.shape().end());
    header.mutable_entries().emplace_back(
        entry->first, Value::dict({{"dtype", name_of(tensor.dtype())},
                                   {"shape", Value::list(std::move(shape))},
                                   {"data_offsets", Value::list({offset, end})}}));
    offset = end;
  }
  std::string text = to_json(header);
  text.append((kAlignment - text.size() % kAlignment) % kAlignment, ' ');
  const uint64_t size = text.size();
  write_file(path, [&](std::ostream& stream) {
    stream.write(reinterpret_cast<const char*>(&size), sizeof size);
    stream.write(text.data(), static_cast<std::streamsize>(text.size()));
    for (const auto* entry : tensors) {
      const auto bytes = entry->second.bytes();
      stream.write(reinterpret_cast<const char*>(bytes.data()),
                   static_cast<std::streamsize>(bytes.size()));
    }
  });
}

}  // namespace yoloquant::checkpoint

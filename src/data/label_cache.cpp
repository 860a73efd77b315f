#include "data/label_cache.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <string_view>
#include <type_traits>

#include "base/error.h"
#include "base/file.h"

namespace yoloquant::data {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kMagic = "YQLABELS";
constexpr uint32_t kVersion = 1;
constexpr size_t kDigestSize = 64;  // hex SHA-256 at the end

class Writer {
 public:
  template <typename T>
  void number(T value) {
    static_assert(std::is_arithmetic_v<T>);
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof(value));
  }
  void text(std::string_view value) {
    number(static_cast<uint32_t>(value.size()));
    bytes_ += value;
  }
  void raw(std::string_view value) { bytes_ += value; }
  std::string& bytes() { return bytes_; }

 private:
  std::string bytes_;
};

class Reader {
 public:
  explicit Reader(std::string_view bytes) : bytes_(bytes) {}

  template <typename T>
  T number() {
    T value;
    const std::string_view bytes = take(sizeof(T));
    std::memcpy(&value, bytes.data(), bytes.size());
    return value;
  }
  std::string text() { return std::string(take(number<uint32_t>())); }
  std::string_view take(size_t size) {
    if (size > bytes_.size()) fail("the cache ends early");
    const std::string_view taken = bytes_.substr(0, size);
    bytes_.remove_prefix(size);
    return taken;
  }
  bool at_end() const { return bytes_.empty(); }

 private:
  std::string_view bytes_;
};

void write_stamp(Writer& out, const FileStamp& stamp) {
  out.number(stamp.size);
  out.number(stamp.modified_ns);
}

FileStamp read_stamp(Reader& in) {
  const auto size = in.number<int64_t>();
  return {size, in.number<int64_t>()};
}

void write_record(Writer& out, const std::string& image, const LabelRecord& record) {
  out.text(image);
  write_stamp(out, record.image_stamp);
  write_stamp(out, record.label_stamp);
  out.text(record.image_sha256);
  out.text(record.label_sha256);
  out.number(static_cast<int32_t>(record.width));
  out.number(static_cast<int32_t>(record.height));
  out.number(record.duplicates);
  out.text(record.problem);
  out.number(static_cast<uint32_t>(record.labels.size()));
  for (const YoloLabel& label : record.labels) {
    out.number(static_cast<int32_t>(label.class_id));
    for (const double value : {label.x, label.y, label.width, label.height}) out.number(value);
  }
}

LabelRecord read_record(Reader& in) {
  LabelRecord record;
  record.image_stamp = read_stamp(in);
  record.label_stamp = read_stamp(in);
  record.image_sha256 = in.text();
  record.label_sha256 = in.text();
  record.width = in.number<int32_t>();
  record.height = in.number<int32_t>();
  record.duplicates = in.number<uint32_t>();
  record.problem = in.text();
  for (auto rows = in.number<uint32_t>(); rows > 0; --rows) {
    YoloLabel label;
    label.class_id = in.number<int32_t>();
    for (double* value : {&label.x, &label.y, &label.width, &label.height}) {
      *value = in.number<double>();
    }
    record.labels.push_back(label);
  }
  return record;
}

LabelRecords parse(std::string_view file, int classes) {
  if (file.size() < kDigestSize) fail("the cache ends early");
  const std::string_view body = file.substr(0, file.size() - kDigestSize);
  if (sha256(body) != file.substr(body.size())) fail("the cache is damaged");
  Reader in(body);
  if (in.take(kMagic.size()) != kMagic || in.number<uint32_t>() != kVersion ||
      in.number<uint32_t>() != static_cast<uint32_t>(classes)) {
    fail("another kind of cache");
  }
  LabelRecords records;
  while (!in.at_end()) {
    std::string image = in.text();
    records[std::move(image)] = read_record(in);
  }
  return records;
}

}  // namespace

FileStamp stamp_of(const fs::path& path) {
  std::error_code error;
  if (!fs::is_regular_file(path, error)) return {};
  const auto size = fs::file_size(path, error);
  if (error) return {};
  const auto modified = fs::last_write_time(path, error);
  if (error) return {};
  return {
      static_cast<int64_t>(size),
      std::chrono::duration_cast<std::chrono::nanoseconds>(modified.time_since_epoch()).count()};
}

LabelRecords read_label_cache(const fs::path& path, int classes) {
  if (!stamp_of(path).exists()) return {};
  try {
    const MappedFile file(path);
    return parse({reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()},
                 classes);
  } catch (const Error&) {
    return {};  // everything is read again
  }
}

void write_label_cache(const fs::path& path, int classes, const LabelRecords& records) {
  std::vector<const LabelRecords::value_type*> sorted;
  sorted.reserve(records.size());
  for (const auto& entry : records) sorted.push_back(&entry);
  std::ranges::sort(sorted, {},
                    [](const auto* entry) -> const std::string& { return entry->first; });
  Writer out;
  out.raw(kMagic);
  out.number(kVersion);
  out.number(static_cast<uint32_t>(classes));
  for (const auto* entry : sorted) write_record(out, entry->first, entry->second);
  out.raw(sha256(out.bytes()));
  write_file(path, out.bytes());
}

}  // namespace yoloquant::data

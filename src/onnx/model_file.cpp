#include "onnx/model_file.h"

#include <charconv>
#include <limits>
#include <map>

#include "base/error.h"
#include "base/file.h"
#include "onnx/tensor_proto.h"

namespace yoloquant::onnx {

namespace fs = std::filesystem;

namespace {

constexpr size_t kMaxFileBytes = std::numeric_limits<int32_t>::max();

struct ExternalPlace {
  fs::path file;
  int64_t offset = 0;
  int64_t length = 0;
};

int64_t parse_count(const std::string& key, const std::string& text) {
  int64_t value = 0;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || stop != text.data() + text.size() || value < 0) {
    fail("external data has {} '{}'", key, text);
  }
  return value;
}

bool is_inside(const fs::path& file, const fs::path& folder) {
  const fs::path relative = fs::weakly_canonical(file).lexically_relative(
      fs::weakly_canonical(folder.empty() ? fs::path(".") : folder));
  return !relative.empty() && *relative.begin() != "..";
}

// Where the bytes are. Throws Error when that is outside the folder or beyond the file's end.
ExternalPlace find_external(const pb::TensorProto& tensor, const fs::path& folder) {
  std::map<std::string, std::string> entries;
  for (const auto& entry : tensor.external_data()) entries[entry.key()] = entry.value();
  const fs::path location = entries["location"];
  if (location.empty()) fail("external data has no location");
  ExternalPlace place{.file = folder / location, .offset = 0, .length = expected_bytes(tensor)};
  std::error_code error;
  if (location.is_absolute() || !is_inside(place.file, folder)) {
    fail("external data '{}' lies outside the model's folder", location.string());
  }
  if (!fs::is_regular_file(place.file, error)) {
    fail("external data file '{}' does not exist", location.string());
  }
  if (entries.contains("offset")) place.offset = parse_count("offset", entries["offset"]);
  if (entries.contains("length") && parse_count("length", entries["length"]) != place.length) {
    fail("external data has length {}, the shape needs {}", entries["length"], place.length);
  }
  const auto size = static_cast<int64_t>(fs::file_size(place.file, error));
  if (error || place.offset > size || place.length > size - place.offset) {
    fail("external data file '{}' is too short: {} bytes, needs {} from byte {}", location.string(),
         size, place.length, place.offset);
  }
  return place;
}

void load_external(pb::ModelProto& model, const fs::path& folder) {
  for (auto& tensor : *model.mutable_graph()->mutable_initializer()) {
    if (tensor.data_location() != pb::TensorProto::EXTERNAL) continue;
    with_context(fmt::format("tensor '{}'", tensor.name()), [&] {
      const ExternalPlace place = find_external(tensor, folder);
      const MappedFile file(place.file);
      const auto bytes = file.bytes().subspan(static_cast<size_t>(place.offset),
                                              static_cast<size_t>(place.length));
      tensor.set_raw_data(bytes.data(), bytes.size());
      tensor.clear_external_data();
      tensor.clear_data_location();
    });
  }
}

}  // namespace

pb::ModelProto parse_model(std::string_view bytes) {
  if (bytes.size() > kMaxFileBytes) fail("{} bytes is more than an ONNX file holds", bytes.size());
  pb::ModelProto model;
  if (bytes.empty() || !model.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    fail("not an ONNX model: its {} bytes do not parse", bytes.size());
  }
  if (!model.has_graph()) fail("not an ONNX model: it has no graph");
  return model;
}

pb::ModelProto load_model(const fs::path& path, ExternalData external) {
  const MappedFile file(path);  // its errors name the file themselves
  return with_context(path.string(), [&] {
    const auto bytes = file.bytes();
    pb::ModelProto model = parse_model({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
    if (external == ExternalData::kLoad) load_external(model, path.parent_path());
    return model;
  });
}

std::string external_data_problem(const pb::TensorProto& tensor, const fs::path& folder) {
  try {
    find_external(tensor, folder);
    return "";
  } catch (const Error& error) {
    return error.what();
  } catch (const fs::filesystem_error& error) {
    return error.code().message();
  }
}

std::string serialize_model(const pb::ModelProto& model) {
  const size_t size = model.ByteSizeLong();
  if (size > kMaxFileBytes) {
    fail("the model takes {} bytes; an ONNX file holds at most 2 GiB", size);
  }
  std::string bytes;
  if (!model.SerializeToString(&bytes)) fail("cannot serialize the ONNX model");
  return bytes;
}

int64_t default_opset(const pb::ModelProto& model) {
  for (const auto& import : model.opset_import()) {
    if (import.domain().empty() || import.domain() == "ai.onnx") return import.version();
  }
  return 0;
}

const pb::AttributeProto* find_attribute(const pb::NodeProto& node, std::string_view name) {
  for (const auto& attribute : node.attribute()) {
    if (attribute.name() == name) return &attribute;
  }
  return nullptr;
}

}  // namespace yoloquant::onnx

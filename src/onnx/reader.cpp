#include "onnx/reader.h"

#include <stdexcept>

#include "base/error.h"
#include "onnx/importer.h"
#include "onnx/model_file.h"
#include "onnx/verify.h"

namespace yoloquant::onnx {

namespace {

// Whatever a hostile file provokes in the graph's own checks leaves as an Error.
graph::Graph import_model(const pb::ModelProto& model, const std::filesystem::path& folder,
                          const ReadOptions& options, ReadReport* report) {
  require_valid(model, folder);
  ReadReport own;
  try {
    return Importer(model, options, report != nullptr ? *report : own).run();
  } catch (const std::out_of_range&) {
    fail("the model's shapes do not fit together");
  }
}

}  // namespace

graph::Graph read(const std::filesystem::path& path, const ReadOptions& options,
                  ReadReport* report) {
  const pb::ModelProto model = load_model(path, ExternalData::kLoad);
  return with_context(path.string(),
                      [&] { return import_model(model, path.parent_path(), options, report); });
}

graph::Graph read_bytes(std::string_view bytes, const ReadOptions& options, ReadReport* report) {
  return import_model(parse_model(bytes), {}, options, report);
}

}  // namespace yoloquant::onnx

#include "onnx/clean.h"

#include "base/error.h"
#include "base/file.h"
#include "onnx/clean_passes.h"
#include "onnx/model_file.h"
#include "onnx/verify.h"

namespace yoloquant::onnx {

namespace {

constexpr int kMaxRounds = 20;

std::map<std::string, int64_t> op_counts(const pb::ModelProto& model) {
  std::map<std::string, int64_t> counts;
  for (const auto& node : model.graph().node()) ++counts[node.op_type()];
  return counts;
}

std::string clean_model(pb::ModelProto& model, const std::filesystem::path& folder,
                        CleanReport& report) {
  require_valid(model, folder);
  report.nodes_before = model.graph().node_size();
  report.initializers_before = model.graph().initializer_size();
  report.removed = op_counts(model);
  pb::GraphProto& graph = *model.mutable_graph();
  drop_initializer_inputs(model);
  use_raw_data(graph);
  store_constants(graph);
  for (int round = 0; round < kMaxRounds; ++round) {
    bool changed = fold_constants(graph);
    changed = merge_chains(graph) || changed;
    changed = bypass_no_ops(graph) || changed;
    changed = remove_dead(graph) || changed;
    if (!changed) break;
  }
  if (share_initializers(graph)) remove_dead(graph);
  report.nodes_after = graph.node_size();
  report.initializers_after = graph.initializer_size();
  for (const auto& [op, count] : op_counts(model)) report.removed[op] -= count;
  std::erase_if(report.removed, [](const auto& entry) { return entry.second == 0; });
  require_valid(model, folder);
  std::string bytes = serialize_model(model);
  report.bytes_after = static_cast<int64_t>(bytes.size());
  return bytes;
}

}  // namespace

CleanReport clean(const std::filesystem::path& in, const std::filesystem::path& out) {
  CleanReport report;
  pb::ModelProto model = load_model(in, ExternalData::kLoad);
  report.bytes_before = static_cast<int64_t>(std::filesystem::file_size(in));
  const std::string bytes =
      with_context(in.string(), [&] { return clean_model(model, in.parent_path(), report); });
  write_file(out, bytes);
  return report;
}

std::string clean_bytes(std::string_view bytes, CleanReport* report) {
  CleanReport own;
  pb::ModelProto model = parse_model(bytes);
  own.bytes_before = static_cast<int64_t>(bytes.size());
  std::string result = clean_model(model, {}, own);
  if (report != nullptr) *report = own;
  return result;
}

}  // namespace yoloquant::onnx

#include <nlohmann/json.hpp>

#include "base/text.h"
#include "cli/arguments.h"
#include "cli/commands.h"
#include "cli/load.h"
#include "pipeline/export.h"

namespace yoloquant::cli {

namespace {

struct ExportArguments : ModelArguments {
  std::filesystem::path out;
  pipeline::ExportOptions options;

  void declare(Options& o) {
    o.section("Arguments");
    declare_model(o);
    o.section("Output");
    o.add("out", &out, "ONNX file to write").is_required().completes(Completion::kFiles);
    declare_head(o, &options.head);
    o.add("precision", &options.precision, "of weights and features; inputs and outputs are fp32")
        .one_of({"fp32", "fp16"});
    o.add("opset", &options.opset, "ONNX operator set").between(onnx::kMinOpset, onnx::kMaxOpset);
    o.add("dynamic", &options.dynamic, "symbolic batch, height and width");
    o.add("batch", &options.batch, "images a run").between(1, 4096);
    declare_size(o);
    o.add("max-det", &options.max_detections, "rows of the end2end head").between(1, 100000);
    declare_seed(o);
  }
};

int run_export(const ExportArguments& arguments, Context& context) {
  arguments.check_model();
  const pipeline::LoadedModel model = load(arguments, context);

  pipeline::ExportOptions options = arguments.options;
  options.image_height = arguments.height();
  options.image_width = arguments.width();
  const pipeline::ExportResult result =
      pipeline::export_onnx(model, arguments.out, options, context.progress());
  context.result({{"path", result.path.string()},
                  {"head", graph::head_name(result.head)},
                  {"precision", onnx::precision_name(options.precision)},
                  {"check", onnx::to_json(result.check)}},
                 fmt::format("{}: {}, {}, opset {}, {} nodes, {}\n", result.path.string(),
                             graph::head_name(result.head), onnx::precision_name(options.precision),
                             result.check.opset, result.check.node_count,
                             human_bytes(static_cast<double>(result.check.file_bytes))));
  return 0;
}

}  // namespace

Command export_command() {
  CommandInfo info;
  info.name = "export";
  info.summary = "write a model as a float ONNX file";
  info.details =
      "Writes a model for inference, batch norms folded and one head kept, as a float ONNX file, "
      "and "
      "checks the file.";
  info.examples = {{"The baseline",
                    "yoloquant export yolov10n.pt --head one2many --precision fp32 "
                    "--out yolov10n.onnx"},
                   {"Without NMS, in half precision, for any size",
                    "yoloquant export yolov10n.pt --head end2end --precision fp16 --dynamic --out "
                    "yolov10n_end2end.onnx"}};
  return define<ExportArguments>(std::move(info), run_export);
}

}  // namespace yoloquant::cli

#include "pipeline/qat.h"

#include "base/error.h"
#include "pipeline/inference_graph.h"
#include "pipeline/train_job.h"
#include "pipeline/train_settings.h"
#include "pipeline/write_quantized.h"
#include "quant/annotation_file.h"
#include "quant/quantize.h"

namespace yoloquant::pipeline {

using graph::Head;

QuantizeResult quantize_by_training(const LoadedModel& model, const std::filesystem::path& onnx,
                                    const TrainOptions& train, const QuantizeOptions& quantize,
                                    const data::ImageList& list, RunRoot& shared,
                                    const TrainEvents& events, Progress& progress) {
  check_train_options(train);
  const bool own_folder = train.out != shared.path();
  TrainOptions options = train;
  options.resume = own_folder && std::filesystem::exists(train.out / "journal.jsonl");
  TrainJob job(options, events, progress, own_folder ? nullptr : &shared);
  QuantizeResult result;
  result.seconds = job.run().seconds;
  result.scheme = quant::scheme_name(train.qat->config.scheme);
  result.method = "qat";
  result.calibration_images = static_cast<int64_t>(list.size());

  const graph::Graph reference =
      inference_graph(model, quantized_head(model, quantize.head), graph::Branches::kKeep,
                      {1, quantize.image_height, quantize.image_width});
  graph::Graph annotated = quant::read_annotations(train.qat->start, reference);
  job.store_best(annotated);
  result.layers = quant::report_layers(annotated, reference, {});
  write_quantized({.annotated = annotated, .reference = reference},
                  quantize.head == Head::kEndToEnd, onnx, quantize, list, result, progress);
  progress.finish();
  return result;
}

}  // namespace yoloquant::pipeline

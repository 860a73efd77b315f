#include <yaml-cpp/yaml.h>

#include <nlohmann/json.hpp>

#include "pipeline/run.h"
#include "pipeline/train_settings.h"

namespace yoloquant::pipeline {
namespace {

// Numbers in their shortest form: yaml-cpp would write .001F with all digits of the binary value.
std::string number(float value) { return fmt::format("{}", value); }

void emit_model(YAML::Emitter& out, const RunOptions& o) {
  out << YAML::Key << "model" << YAML::Value << o.model;
  out << YAML::Key << "name" << YAML::Value << o.name;
  if (o.load.seed) out << YAML::Key << "seed" << YAML::Value << *o.load.seed;
  if (o.load.class_count > 0) {
    out << YAML::Key << "class_count" << YAML::Value << o.load.class_count;
  }
  out << YAML::Key << "fp16" << YAML::Value << o.export_fp16;
}

void emit_variants(YAML::Emitter& out, const std::vector<RunVariant>& variants) {
  out << YAML::Key << "variants" << YAML::Value << YAML::BeginMap;
  for (const RunVariant& variant : variants) {
    out << YAML::Key << variant.name << YAML::Value
        << YAML::Load(quant::config_yaml(variant.config));
  }
  out << YAML::EndMap;
}

void emit_baseline(YAML::Emitter& out, const ExportOptions& o) {
  out << YAML::Key << "export" << YAML::Value << YAML::BeginMap;
  out << YAML::Key << "head" << YAML::Value << std::string(graph::head_name(o.head));
  out << YAML::Key << "opset" << YAML::Value << o.opset;
  out << YAML::Key << "dynamic" << YAML::Value << o.dynamic;
  out << YAML::Key << "batch" << YAML::Value << o.batch;
  out << YAML::Key << "image_height" << YAML::Value << o.image_height;
  out << YAML::Key << "image_width" << YAML::Value << o.image_width;
  out << YAML::Key << "max_detections" << YAML::Value << o.max_detections;
  out << YAML::EndMap;
}

void emit_quantize(YAML::Emitter& out, const QuantizeOptions& o) {
  out << YAML::Key << "quantize" << YAML::Value << YAML::BeginMap;
  out << YAML::Key << "calib" << YAML::Value << o.calibration.source.string();
  out << YAML::Key << "calib_images" << YAML::Value << o.calibration.images;
  out << YAML::Key << "calib_seed" << YAML::Value << o.calibration.seed;
  out << YAML::Key << "effort" << YAML::Value << std::string(quant::effort_name(o.effort));
  out << YAML::Key << "tuned_heads" << YAML::Value << std::string(tuned_heads_name(o.tuned_heads));
  out << YAML::Key << "seed" << YAML::Value << o.seed;
  out << YAML::Key << "layout" << YAML::Value << std::string(onnx::layout_name(o.layout));
  out << YAML::Key << "opset" << YAML::Value << o.opset;
  out << YAML::Key << "precision" << YAML::Value << std::string(onnx::precision_name(o.precision));
  out << YAML::Key << "dynamic" << YAML::Value << o.dynamic;
  out << YAML::Key << "device" << YAML::Value << o.device;
  out << YAML::Key << "threads" << YAML::Value << o.threads;
  out << YAML::Key << "batch" << YAML::Value << o.batch;
  out << YAML::Key << "verify_images" << YAML::Value << o.verify_images;
  out << YAML::EndMap;
}

void emit_qat(YAML::Emitter& out, const RunQat& qat) {
  if (qat.when == QatWhen::kOff) return;
  out << YAML::Key << "qat" << YAML::Value << YAML::BeginMap;
  out << YAML::Key << "when" << YAML::Value << std::string(qat_when_name(qat.when));
  out << YAML::Key << "bound" << YAML::Value << qat.bound;
  out << YAML::Key << "training" << YAML::Value << YAML::Load(train_settings(qat.train).dump());
  out << YAML::EndMap;
}

void emit_eval(YAML::Emitter& out, const EvalOptions& o) {
  out << YAML::Key << "eval" << YAML::Value << YAML::BeginMap;
  out << YAML::Key << "coco" << YAML::Value << o.coco_root.string();
  out << YAML::Key << "split" << YAML::Value << o.split;
  out << YAML::Key << "max_images" << YAML::Value << o.max_images;
  out << YAML::Key << "image_ids" << YAML::Value << YAML::Flow << o.image_ids;
  out << YAML::Key << "conf" << YAML::Value << number(o.conf);
  out << YAML::Key << "iou" << YAML::Value << number(o.iou);
  out << YAML::Key << "max_det" << YAML::Value << o.max_det;
  out << YAML::Key << "pre_nms_topk" << YAML::Value << o.pre_nms_topk;
  out << YAML::Key << "reference_score" << YAML::Value << o.reference_score;
  out << YAML::Key << "device" << YAML::Value << o.device;
  out << YAML::Key << "threads" << YAML::Value << o.threads;
  out << YAML::Key << "skip_latency" << YAML::Value << o.skip_latency;
  out << YAML::Key << "warmup_runs" << YAML::Value << o.warmup_runs;
  out << YAML::Key << "latency_runs" << YAML::Value << o.latency_runs;
  out << YAML::Key << "bootstrap_resamples" << YAML::Value << o.bootstrap_resamples;
  out << YAML::Key << "bootstrap_seed" << YAML::Value << o.bootstrap_seed;
  out << YAML::EndMap;
}

void emit_pictures(YAML::Emitter& out, const RunPictures& pictures) {
  if (pictures.images == 0) return;
  out << YAML::Key << "pictures" << YAML::Value << YAML::BeginMap;
  out << YAML::Key << "images" << YAML::Value << pictures.images;
  out << YAML::Key << "variants" << YAML::Value << YAML::Flow << pictures.variants;
  out << YAML::EndMap;
}

}  // namespace

std::string run_config_yaml(const RunOptions& options) {
  YAML::Emitter out;
  out << YAML::BeginMap;
  emit_model(out, options);
  emit_variants(out, options.variants);
  emit_baseline(out, options.baseline);
  emit_quantize(out, options.quantize);
  emit_eval(out, options.eval);
  emit_qat(out, options.qat);
  emit_pictures(out, options.pictures);
  out << YAML::EndMap;
  return std::string(out.c_str()) + "\n";
}

}  // namespace yoloquant::pipeline

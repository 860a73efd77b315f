#include "pipeline/train_settings.h"

#include "base/error.h"
#include "data/augment.h"

namespace yoloquant::pipeline {

using nlohmann::ordered_json;

void check_train_options(const TrainOptions& options) {
  if (options.out.empty()) fail_usage("training needs --out DIR, the folder of the run");
  if (options.image_size < 32 || options.image_size > 8192 || options.image_size % 32 != 0) {
    fail_usage("image size {}: it must be a multiple of 32 from 32 to 8192", options.image_size);
  }
  if (options.batch < 1 || options.batch > 1 << 16 ||
      options.batch % options.ranks.world_size != 0) {
    fail_usage("batch {}: it must be positive, and a multiple of the number of processes, {}",
               options.batch, options.ranks.world_size);
  }
  if (options.val_period < 1 || options.save_period < 0 || options.patience < 0) {
    fail_usage("val-period {}, save-period {} or patience {} is out of range", options.val_period,
               options.save_period, options.patience);
  }
  data::check_augmentation(options.augment);
  train::check(options.watch);
  if (options.qat) {
    if (options.qat->norm_batches < 0 || options.qat->gap_period < 0 ||
        options.qat->distillation < 0) {
      fail_usage("norm-batches {}, gap-period {} or distill {} is negative",
                 options.qat->norm_batches, options.qat->gap_period, options.qat->distillation);
    }
    train::check(options.qat->options);
  }
  train::check_options(options.trainer);
}

namespace {

ordered_json qat_json(const QatSettings& settings) {
  const train::QatOptions& o = settings.options;
  ordered_json stages = ordered_json::array();
  for (const train::BitStage& stage : o.stages) stages.push_back({stage.progress, stage.bits});
  return {{"config", quant::config_yaml(settings.config)},
          {"start", settings.start.string()},
          {"norm_batches", settings.norm_batches},
          {"distillation", settings.distillation},
          {"teacher", settings.teacher},
          {"gap_period", settings.gap_period},
          {"lsq_start", o.weight_steps == train::StepStart::kLsq},
          {"step_rate", o.step_rate},
          {"learn_zero_points", o.learn_zero_points},
          {"dampening", o.dampening},
          {"freezing", o.freezing},
          {"freeze_threshold", o.freeze_threshold},
          {"final_freeze_threshold", o.final_freeze_threshold},
          {"oscillation_momentum", o.oscillation_momentum},
          {"freeze_norms_after", o.freeze_norms_after},
          {"correct_after", o.correct_after},
          {"stages", std::move(stages)}};
}

}  // namespace

ordered_json train_settings(const TrainOptions& options) {
  const train::TrainerOptions& t = options.trainer;
  const train::ScheduleOptions& s = t.schedule;
  const data::AugmentOptions& a = options.augment;
  ordered_json json{
      {"model", options.model},
      {"data", options.data.yaml.string()},
      {"coco", options.data.coco.string()},
      {"train_split", options.data.train_split},
      {"val_split", options.data.val_split},
      {"fraction", options.data.fraction},
      {"val_images", options.data.val_images},
      {"seed", options.seed},
      {"imgsz", options.image_size},
      {"batch", options.batch},
      {"epochs", s.epochs},
      {"steps", options.steps},
      {"optimizer", train::optimizer_name(t.optimizer)},
      {"amp", train::precision_name(t.precision)},
      {"lr0", s.rate},
      {"lrf", s.final_rate},
      {"cos_lr", s.cosine},
      {"momentum", s.momentum},
      {"weight_decay", s.weight_decay},
      {"warmup_epochs", s.warmup_epochs},
      {"warmup_momentum", s.warmup_momentum},
      {"warmup_bias_lr", s.warmup_bias_rate},
      {"nbs", s.nominal_batch},
      {"box", t.box},
      {"cls", t.classes},
      {"dfl", t.dfl},
      {"clip_norm", t.clip_norm},
      {"ema_decay", t.ema_decay},
      {"ema_tau", t.ema_tau},
      {"val_head", t.evaluated == train::EvaluatedHead::kOneToMany ? "one2many" : "one2one"},
      {"freeze_norm", t.freeze_norm},
      {"mosaic", a.mosaic},
      {"mixup", a.mixup},
      {"close_mosaic", a.close_mosaic},
      {"degrees", a.degrees},
      {"translate", a.translate},
      {"scale", a.scale},
      {"shear", a.shear},
      {"perspective", a.perspective},
      {"hsv_h", a.hsv_h},
      {"hsv_s", a.hsv_s},
      {"hsv_v", a.hsv_v},
      {"flipud", a.flipud},
      {"fliplr", a.fliplr},
      {"val_period", options.val_period},
      {"patience", options.patience},
      {"validate_start", options.validate_start},
      {"watch_fall", options.watch.relative_fall},
      {"watch_tries", options.watch.tries},
      {"watch_rate_factor", options.watch.rate_factor},
      {"processes", options.ranks.world_size},
      {"sync_bn", options.sync_norms}};
  if (options.qat) json["qat"] = qat_json(*options.qat);
  return json;
}

void check_same_settings(const ordered_json& before, const ordered_json& now) {
  for (const auto& [key, value] : now.items()) {
    const ordered_json old = before.is_object() && before.contains(key) ? before[key] : nullptr;
    if (old == value) continue;
    fail_usage(
        "the run to go on with began with {} {}, not {}: give the same options, or another "
        "--out for a new run",
        key, old.dump(), value.dump());
  }
}

}  // namespace yoloquant::pipeline

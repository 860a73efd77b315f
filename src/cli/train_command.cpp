#include "cli/train_command.h"

#include "cli/commands.h"

namespace yoloquant::cli {

void TrainArguments::declare(Options& o) {
  declare_model(o,
                "definition to train from scratch (a file, or built in such as yolov10n.yaml), or "
                "checkpoint to go on from");
  declare_training(o);
  o.section("Quantization");
  o.add("scheme", &scheme, "train with quantizers: bits of weights and activations, such as w4a16")
      .value_name("wNaM");
  o.add_tree("layers", &layers,
             "rules for single layers, later ones win: [{match: model.23.*, weight_bits: 8}]");
  qat.declare(o);
}

void TrainArguments::declare_model(Options& o, const char* help) {
  o.section("Arguments");
  o.positional("model", &model, help).is_required().completes(Completion::kModels);
}

void TrainArguments::declare_training(Options& o) {
  declare_data(o);
  declare_run(o);
  declare_optimization(o);
  declare_augmentation(o);
  declare_watch(o, &options.watch);
}

void TrainArguments::declare_data(Options& o) {
  pipeline::TrainDataOptions& data = options.data;
  o.section("Data");
  o.add("data", &data.yaml, "data.yaml in Ultralytics' form: path, train, val, names")
      .value_name("FILE")
      .completes(Completion::kFiles);
  o.add("coco", &data.coco, "root of a data set in COCO's form; it is only read")
      .value_name("ROOT")
      .completes(Completion::kFolders);
  o.add("train-split", &data.train_split, "of a COCO data set");
  o.add("val-split", &data.val_split, "of a COCO data set");
  o.add("fraction", &data.fraction, "part of the training images, drawn by seed").between(0, 1);
  o.add("imgsz", &image_size, "input size in pixels, a multiple of 32 (640 when not given)")
      .value_name("N");
}

void TrainArguments::declare_run(Options& o) {
  train::ScheduleOptions& schedule = options.trainer.schedule;
  o.section("Run");
  o.add("out", &options.out, "folder of the run: results.csv, weights/best.pt, weights/last.pt")
      .value_name("DIR")
      .is_required()
      .completes(Completion::kFolders);
  o.add("resume", &options.resume, "go on with the run in DIR where it was interrupted");
  o.add("epochs", &schedule.epochs, "passes over the training images").at_least(1);
  o.add("steps", &options.steps, "about so many optimizer steps instead, in whole epochs")
      .at_least(0);
  o.add("batch", &options.batch, "images a batch").between(1, 1 << 16);
  o.add("seed", &options.seed, "of fresh weights, the fraction, the order and augmentation");
  o.add("save-period", &options.save_period,
        "keep weights/epochNNN.pt every so many epochs; 0: never")
      .at_least(0);
  o.add("val-period", &options.val_period, "validate every so many epochs, and after the last")
      .at_least(1);
  o.add("patience", &options.patience, "stop after so many epochs without a better model; 0: never")
      .at_least(0);
  o.section("Computation");
  declare_device(o, &device);
  o.add("amp", &amp,
        "what convolutions compute in: off (float32), bf16, fp16 (with a gradient scaler, CUDA "
        "only); auto: fp16 on CUDA, off on the CPU")
      .one_of({"auto", "off", "bf16", "fp16"});
  o.add("nproc", &processes,
        "processes that train together, one per GPU; torchrun, mpirun or srun can start them "
        "instead")
      .between(1, 1024);
  o.add("sync-bn", &options.sync_norms, "batch norms see the images of all processes");
  o.add("workers", &options.workers,
        "threads of a process that read and augment images; 0: all CPUs")
      .at_least(0);
}

void TrainArguments::declare_optimization(Options& o) {
  train::TrainerOptions& trainer = options.trainer;
  train::ScheduleOptions& schedule = trainer.schedule;
  o.section("Optimization");
  o.add("optimizer", &optimizer, "sgd has Nesterov's momentum").one_of({"sgd", "adamw"});
  o.add("lr0", &schedule.rate, "learning rate of the first epoch");
  o.add("lrf", &schedule.final_rate, "the last epoch's, as a part of the first's").at_least(0);
  o.add("cos-lr", &schedule.cosine, "a cosine between the two instead of a line");
  o.add("momentum", &schedule.momentum, "of SGD; AdamW's beta1").between(0, 1);
  o.add("weight-decay", &schedule.weight_decay, "of the convs' weights, for the nominal batch")
      .at_least(0);
  o.add("warmup-epochs", &schedule.warmup_epochs, "in which rates and momentum rise").at_least(0);
  o.add("warmup-momentum", &schedule.warmup_momentum, "at the start").between(0, 1);
  o.add("warmup-bias-lr", &schedule.warmup_bias_rate, "learning rate of biases at the start")
      .at_least(0);
  o.add("nbs", &schedule.nominal_batch, "nominal batch: gradients of smaller batches add up to it")
      .at_least(1);
  o.add("box", &trainer.box, "gain of the box loss").at_least(0);
  o.add("cls", &trainer.classes, "gain of the class loss").at_least(0);
  o.add("dfl", &trainer.dfl, "gain of the distribution focal loss").at_least(0);
  o.add("clip-norm", &trainer.clip_norm, "largest norm of all gradients; 0: not clipped")
      .at_least(0);
  o.add("ema-decay", &trainer.ema_decay, "of the averaged weights").between(0, 1);
  o.add("ema-tau", &trainer.ema_tau, "steps in which that decay is reached");
  o.add("freeze-norm", &trainer.freeze_norm, "batch norms keep their running statistics");
}

void TrainArguments::declare_augmentation(Options& o) {
  data::AugmentOptions& augment = options.augment;
  o.section("Augmentation");
  o.add("mosaic", &augment.mosaic, "probability of four images in one").between(0, 1);
  o.add("mixup", &augment.mixup, "probability of blending two images").between(0, 1);
  o.add("close-mosaic", &augment.close_mosaic, "last epochs without mosaic and mixup").at_least(0);
  o.add("degrees", &augment.degrees, "rotation at most");
  o.add("translate", &augment.translate, "shift at most, as a part of the image");
  o.add("scale", &augment.scale, "change of size at most");
  o.add("shear", &augment.shear, "degrees at most");
  o.add("perspective", &augment.perspective, "at most, up to 0.001");
  o.add("hsv-h", &augment.hsv_h, "change of hue at most");
  o.add("hsv-s", &augment.hsv_s, "change of saturation at most");
  o.add("hsv-v", &augment.hsv_v, "change of brightness at most");
  o.add("flipud", &augment.flipud, "probability of upside down").between(0, 1);
  o.add("fliplr", &augment.fliplr, "probability of left and right exchanged").between(0, 1);
}

Command train_command(Runner<TrainArguments> runner) {
  CommandInfo info;
  info.name = "train";
  info.program = Program::kEngine;
  info.summary = "train a model";
  info.details =
      "Trains a YOLOv10 from scratch or from a checkpoint, validates the averaged weights after "
      "each epoch, and keeps the best and the last state. A run that was interrupted goes on with "
      "--resume as if it had never stopped. See docs/training.md.";
  info.examples = {
      {"From scratch on COCO",
       "yoloquant train yolov10n.yaml --coco coco --epochs 300 --batch 32 --save-period 5 --out "
       "runs/n"},
      {"Further training on your own data",
       "yoloquant train yolov10n.pt --data data.yaml --epochs 50 --lr0 0.001 --out runs/mine"},
      {"After an interruption",
       "yoloquant train yolov10n.pt --data data.yaml --epochs 50 --lr0 0.001 --out runs/mine "
       "--resume"}};
  return define<TrainArguments>(std::move(info), runner);
}

}  // namespace yoloquant::cli

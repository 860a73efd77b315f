#include "cli/shapes_command.h"

#include "cli/commands.h"

namespace yoloquant::cli {

void ShapesArguments::declare(Options& o) {
  o.section("Output");
  o.add("out", &out, "folder of the data set")
      .is_required()
      .value_name("DIR")
      .completes(Completion::kFolders);
  o.add("train-images", &options.train_images, "images to train on").between(1, 1000000);
  o.add("val-images", &options.val_images, "images to validate on").between(1, 1000000);
  o.add("width", &options.width, "pixels of an image").between(1, 8192);
  o.add("height", &options.height, "pixels of an image").between(1, 8192);
  o.add("max-objects", &options.max_objects, "of an image").between(1, 1000);
  o.add("seed", &options.seed, "of the images");
}

Command shapes_command(Runner<ShapesArguments> runner) {
  CommandInfo info;
  info.name = "shapes";
  info.program = Program::kImageEngine;
  info.summary = "write a synthetic data set";
  info.details =
      "Draws images of circles, squares, triangles, stars, crosses and rings and writes them as a "
      "COCO data set: something to train and evaluate on without a download. The same arguments "
      "give the same images.";
  info.examples = {{"2000 images to train on",
                    "yoloquant shapes --train-images 2000 --val-images 200 --out shapes"}};
  return define<ShapesArguments>(std::move(info), runner);
}

}  // namespace yoloquant::cli

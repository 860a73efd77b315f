#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "pipeline/calibration_list.h"

namespace yoloquant::cli {

namespace {

struct CalibArguments {
  std::filesystem::path source;
  std::filesystem::path out;
  int64_t count = 500;
  uint64_t seed = 0;

  void declare(Options& o) {
    o.section("Arguments");
    o.positional("source", &source,
                 "a folder of images, a list file, or a COCO folder (its training images)")
        .is_required()
        .value_name("DIR_OR_COCO")
        .completes(Completion::kFiles);
    o.section("Output");
    o.add("out", &out, "list file to write").is_required().completes(Completion::kFiles);
    o.add("count", &count, "images to draw; 500 to 2000 are usual").at_least(1);
    o.add("seed", &seed, "of the draw");
  }
};

bool is_coco(const std::filesystem::path& folder) {
  return std::filesystem::is_directory(folder / "annotations") ||
         std::filesystem::is_directory(folder / "train2017") ||
         std::filesystem::is_directory(folder / "images" / "train2017");
}

int run_calib(const CalibArguments& arguments, Context& context) {
  pipeline::CalibrationListOptions options;
  (is_coco(arguments.source) ? options.coco_root : options.source) = arguments.source;
  options.images = arguments.count;
  options.seed = arguments.seed;
  const data::ImageList images = pipeline::write_calibration_list(arguments.out, options);
  if (images.size() < static_cast<size_t>(arguments.count)) {
    context.warn("{} has only {} images", arguments.source.string(), images.size());
  }
  context.result(
      {{"path", arguments.out.string()}, {"images", images.size()}, {"seed", arguments.seed}},
      fmt::format("{}: {} images\n", arguments.out.string(), images.size()));
  return 0;
}

}  // namespace

Command calib_command() {
  CommandInfo info;
  info.name = "calib";
  info.summary = "draw calibration images and write their list";
  info.details =
      "Draws images by seed from a folder, a list or a COCO data set, and writes a list "
      "that quantize and run take.";
  info.examples = {{"500 of the training images",
                    "yoloquant calib coco --count 500 --seed 1 --out calib500.txt"}};
  return define<CalibArguments>(std::move(info), run_calib);
}

}  // namespace yoloquant::cli

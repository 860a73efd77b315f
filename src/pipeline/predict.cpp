#include "pipeline/predict.h"

#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "data/image.h"
#include "data/image_list.h"
#include "pipeline/detector.h"

namespace yoloquant::pipeline {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

// File stems for the results: an image's own, numbered when an earlier image has it.
class Stems {
 public:
  std::string next(const fs::path& image) {
    const std::string stem = image.stem().string();
    std::string name = stem;
    for (int number = 2; !used_.insert(name).second; ++number) {
      name = fmt::format("{}_{}", stem, number);
    }
    return name;
  }

 private:
  std::set<std::string> used_;
};

std::string class_name(const std::map<int, std::string>& names, int32_t class_id) {
  const auto found = names.find(class_id);
  return found != names.end() ? found->second : fmt::format("class{}", class_id);
}

void draw(const ImagePredictions& result, const fs::path& path) {
  data::Image image = data::read_image(result.image);
  std::vector<data::LabeledBox> boxes;
  for (const Prediction& p : result.predictions) {
    boxes.push_back({p.box, p.class_id, fmt::format("{} {:.2f}", p.class_name, p.score)});
  }
  data::draw_boxes(image, boxes);
  AtomicFile file(path);
  data::write_image(file.temporary_path(), image);
  file.commit();
}

// class cx cy w h confidence, relative to the image: what Ultralytics' save_txt, save_conf write.
std::string yolo_txt(const ImagePredictions& result) {
  std::string text;
  for (const Prediction& p : result.predictions) {
    text += fmt::format("{} {:.6f} {:.6f} {:.6f} {:.6f} {:.6f}\n", p.class_id,
                        (p.box.x1 + p.box.x2) / 2 / result.width,
                        (p.box.y1 + p.box.y2) / 2 / result.height, p.box.width() / result.width,
                        p.box.height() / result.height, p.score);
  }
  return text;
}

ordered_json to_json(const ImagePredictions& result) {
  ordered_json predictions = ordered_json::array();
  for (const Prediction& p : result.predictions) {
    predictions.push_back({{"class_id", p.class_id},
                           {"class_name", p.class_name},
                           {"score", p.score},
                           {"box", {p.box.x1, p.box.y1, p.box.x2, p.box.y2}}});
  }
  return {{"image", result.image.string()},
          {"width", result.width},
          {"height", result.height},
          {"predictions", std::move(predictions)}};
}

DetectorOptions detector_options(const PredictOptions& options) {
  DetectorOptions detector;
  detector.head = options.head;
  detector.image_height = options.image_height;
  detector.image_width = options.image_width;
  // A file that does not say how many classes it has may predict any.
  detector.class_count = 100000;
  detector.session = {
      .provider = options.provider, .device = options.device, .threads = options.threads};
  detector.decode = {.conf = options.conf, .iou = options.iou, .max_det = options.max_det};
  return detector;
}

}  // namespace

PredictResult predict(const std::string& model, const fs::path& source, const fs::path& out,
                      const PredictOptions& options, Progress& progress) {
  const data::ImageList images = data::read_image_list(source);
  const PreparedModel prepared = prepare_model(model, out,
                                               {.head = options.head,
                                                .seed = options.seed,
                                                .image_height = options.image_height,
                                                .image_width = options.image_width,
                                                .max_detections = options.max_det},
                                               progress);
  Detector detector(prepared.onnx, detector_options(options));
  PredictResult result;
  result.warnings = prepared.warnings;
  result.provider = detector.session().provider();
  Stems stems;
  const auto on_image = [&](size_t index, const data::Letterbox& letterbox,
                            const std::vector<eval::Detection>& found) {
    ImagePredictions& entry = result.images.emplace_back();
    entry.image = images[index];
    entry.width = letterbox.image_width;
    entry.height = letterbox.image_height;
    for (const eval::Detection& d : found) {
      entry.predictions.push_back({letterbox.to_image({d.x1, d.y1, d.x2, d.y2}), d.class_id,
                                   class_name(detector.names(), d.class_id), d.score});
    }
    const std::string stem = stems.next(entry.image);
    if (options.write_images) draw(entry, out / "images" / (stem + ".jpg"));
    if (options.write_txt) write_file(out / "labels" / (stem + ".txt"), yolo_txt(entry));
  };
  detector.run(images, on_image, progress);
  ordered_json json = ordered_json::array();
  for (const ImagePredictions& entry : result.images) json.push_back(to_json(entry));
  result.json_path = out / "predictions.json";
  write_file(result.json_path, json.dump(2) + "\n");
  return result;
}

}  // namespace yoloquant::pipeline

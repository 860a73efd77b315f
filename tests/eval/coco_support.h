#pragma once

#include <gtest/gtest.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/random.h"
#include "eval/coco_evaluator.h"
#include "support/shared_data.h"

namespace yoloquant::test {

// The twelve figures of the real pycocotools, or a failure of the running test.
inline std::vector<double> pycocotools_figures(const std::filesystem::path& folder,
                                               const std::filesystem::path& annotations,
                                               const std::filesystem::path& detections,
                                               const std::vector<int64_t>& image_ids) {
  const auto script = folder / "reference.py";
  write_file(script,
             "import json, sys\n"
             "from pycocotools.coco import COCO\n"
             "from pycocotools.cocoeval import COCOeval\n"
             "truth = COCO(sys.argv[1])\n"
             "e = COCOeval(truth, truth.loadRes(sys.argv[2]), 'bbox')\n"
             "e.params.imgIds = json.loads(sys.argv[3])\n"
             "e.evaluate(); e.accumulate(); e.summarize()\n"
             "print('FIGURES', json.dumps([float(v) for v in e.stats]))\n");
  std::string output;
  const int status =
      run_command("'" + python() + "' '" + script.string() + "' '" + annotations.string() + "' '" +
                      detections.string() + "' '" + nlohmann::json(image_ids).dump() + "'",
                  &output);
  const size_t at = output.find("FIGURES ");
  if (status != 0 || at == std::string::npos) {
    ADD_FAILURE() << "pycocotools: " << output;
    return {};
  }
  return nlohmann::json::parse(output.substr(at + 8)).get<std::vector<double>>();
}

inline bool has_pycocotools() {
  std::string output;
  return !python().empty() &&
         run_command("'" + python() + "' -c 'import pycocotools.cocoeval'", &output) == 0;
}

inline void expect_figures(const eval::CocoFigures& ours, const std::vector<double>& reference) {
  const auto figures = ours.as_array();
  ASSERT_EQ(reference.size(), figures.size());
  for (size_t i = 0; i < figures.size(); ++i) {
    EXPECT_NEAR(figures[i], reference[i], 1e-9) << "figure " << i;
  }
}

// A random data set and detections that hit what is delicate in COCO's evaluation.
struct RandomCoco {
  nlohmann::json annotations;
  nlohmann::json detections;
  std::vector<int64_t> image_ids;
};

struct RandomCocoOptions {
  int images = 30;
  int categories = 6;
  int max_ground_truths = 12;
  int false_detections = 25;
  double crowd_share = 0.1;
  int score_levels = 0;  // > 0: few different scores, so many ties
};

inline RandomCoco make_random_coco(uint64_t seed, const RandomCocoOptions& options) {
  Random random(seed);
  RandomCoco set;
  nlohmann::json images = nlohmann::json::array();
  nlohmann::json annotations = nlohmann::json::array();
  set.detections = nlohmann::json::array();
  const auto random_box = [&] {
    // Sides from 4 to 300 pixels, so that all area ranges occur.
    const float width = 4 * std::exp(random.uniform(0, 4.3F));
    const float height = 4 * std::exp(random.uniform(0, 4.3F));
    return std::array<double, 4>{random.uniform(0, 300), random.uniform(0, 300), width, height};
  };
  const auto score = [&](double value) {
    if (options.score_levels <= 0) return value;
    return std::round(value * options.score_levels) / options.score_levels;
  };
  const auto detect = [&](int64_t image, int64_t category, const std::array<double, 4>& box,
                          double value) {
    set.detections.push_back(
        {{"image_id", image}, {"category_id", category}, {"bbox", box}, {"score", score(value)}});
  };
  int64_t next_id = 1;
  for (int i = 0; i < options.images; ++i) {
    const int64_t image = 1000 - 7 * i;  // not in the order of their ids
    images.push_back({{"id", image}, {"file_name", "x.jpg"}, {"width", 640}, {"height", 640}});
    set.image_ids.push_back(image);
    const auto truths = static_cast<int>(random.below(options.max_ground_truths + 1));
    for (int g = 0; g < truths; ++g) {
      // Category 3 has detections but never any ground truth; the last has neither.
      int64_t category = 1 + static_cast<int64_t>(random.below(options.categories - 1));
      if (category == 3) category = 1;
      const auto box = random_box();
      const bool crowd = random.uniform() < options.crowd_share;
      const double area = box[2] * box[3] * random.uniform(0.4F, 1.0F);
      annotations.push_back({{"id", next_id++},
                             {"image_id", image},
                             {"category_id", category * 2},
                             {"bbox", box},
                             {"area", area},
                             {"iscrowd", crowd ? 1 : 0},
                             {"ignore", random.uniform() < 0.2F ? 1 : 0}});
      const auto copies = static_cast<int>(random.below(4));
      for (int c = 0; c < copies; ++c) {
        auto near = box;
        for (size_t k = 0; k < 4; ++k) near[k] += random.uniform(-0.12F, 0.12F) * box[2 + k % 2];
        detect(image, category * 2, near, random.uniform(0.2F, 1.0F));
      }
      if (random.uniform() < 0.2F) detect(image, category * 2, box, 0.5);  // exact, IoU of 1
    }
    const auto wrong = static_cast<int>(random.below(options.false_detections + 1));
    for (int f = 0; f < wrong; ++f) {
      const auto category = 1 + static_cast<int64_t>(random.below(options.categories - 1));
      detect(image, category * 2, random_box(), random.uniform(0.0F, 0.7F));
    }
  }
  nlohmann::json categories = nlohmann::json::array();
  for (int c = options.categories; c >= 1; --c) {
    categories.push_back({{"id", c * 2}, {"name", "class " + std::to_string(c)}});
  }
  set.annotations = {{"images", images}, {"annotations", annotations}, {"categories", categories}};
  return set;
}

}  // namespace yoloquant::test

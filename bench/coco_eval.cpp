// COCO evaluation as a process, for comparison with others by bench/coco_eval.py:
//   coco_eval_process ANNOTATIONS.json DETECTIONS.json [THREADS]
// prints the twelve figures of COCOeval.summarize.
#include <cstdio>
#include <cstdlib>
#include <exception>

#include "eval/coco_evaluator.h"
#include "eval/detections_json.h"

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: %s ANNOTATIONS.json DETECTIONS.json [THREADS]\n", argv[0]);
    return 2;
  }
  try {
    const auto dataset = yoloquant::data::CocoDataset::read(argv[1]);
    const auto detections = yoloquant::eval::read_detections(argv[2]);
    const auto result =
        yoloquant::eval::evaluate_coco(dataset, dataset.first_image_ids(0), detections,
                                       {.threads = argc > 3 ? std::atoi(argv[3]) : 1});
    for (const double figure : result.figures.as_array()) std::printf("%.12f ", figure);
    std::printf("\n");
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}

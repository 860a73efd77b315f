// The losses and gradients of the real model on two real images, against the Python original.
#include <ATen/ops/norm.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "checkpoint/checkpoint.h"
#include "data/coco_dataset.h"
#include "data/letterbox.h"
#include "exec/convert.h"
#include "model/load.h"
#include "support/shared_data.h"
#include "train/loss.h"
#include "train/trainable_graph.h"

namespace yoloquant::train {
namespace {

constexpr int kSide = 640;

struct Batch {
  at::Tensor images;
  Targets targets;
};

Batch load_batch(const std::vector<std::string>& files) {
  const auto coco = data::CocoDataset::open(test::shared_data() / "coco", "val2017");
  Tensor images(DType::kFloat32, {static_cast<int64_t>(files.size()), 3, kSide, kSide});
  std::vector<int64_t> image;
  std::vector<int64_t> label;
  std::vector<float> box;
  for (size_t i = 0; i < files.size(); ++i) {
    constexpr size_t kSize = size_t{3} * kSide * kSide;
    const auto index = static_cast<size_t>(
        std::ranges::find(coco.images(), files[i], &data::CocoImage::file_name) -
        coco.images().begin());
    const data::Letterbox fit =
        data::letterbox(data::read_image(coco.image_path(coco.images()[index])), kSide, kSide,
                        images.mutable_data<float>().subspan(i * kSize, kSize));
    for (const data::CocoAnnotation& object : coco.annotations_of(index)) {
      if (object.is_crowd) continue;
      image.push_back(static_cast<int64_t>(i));
      label.push_back(object.category);
      const data::Box input =
          fit.to_input({object.x, object.y, object.x + object.width, object.y + object.height});
      for (const double side : {input.x1, input.y1, input.x2, input.y2}) {
        box.push_back(static_cast<float>(side));
      }
    }
  }
  const auto count = static_cast<int64_t>(image.size());
  return {exec::view_of(images).clone(),
          {exec::view_of(Tensor::from<int64_t>({count}, image)).clone(),
           exec::view_of(Tensor::from<int64_t>({count}, label)).clone(),
           exec::view_of(Tensor::from<float>({count, 4}, box)).clone()}};
}

TEST(GoldenLoss, LossesAndGradientsAreThoseOfTheOriginal) {
  YQ_REQUIRE_SHARED();
  std::ifstream file(test::shared_data() / "golden" / "yolov10n.json");
  const auto golden = nlohmann::json::parse(file).at("loss");
  const Batch batch = load_batch(golden.at("images"));
  ASSERT_EQ(batch.targets.image.size(0), golden.at("boxes").get<int64_t>());
  const graph::Graph graph = model::from_checkpoint(
      checkpoint::read(test::shared_data() / "weights" / "yolov10n.pt"), "yolov10n.pt");

  for (const auto& [key, mode] :
       {std::pair{"eval_bn", NormMode::kEvaluation}, std::pair{"train_bn", NormMode::kTraining}}) {
    SCOPED_TRACE(key);
    const auto& expected = golden.at(key);
    TrainableGraph model(graph);
    const DetectionLoss loss = detection_loss(model.forward(batch.images, mode), batch.targets);
    const auto total = expected.at("loss").get<double>();
    EXPECT_NEAR(loss.total.item<double>(), total, 1e-4 * total);
    for (size_t i = 0; i < kLossNames.size(); ++i) {
      const auto item = expected.at("items").at(kLossNames[i]).get<double>();
      EXPECT_NEAR(loss.items[static_cast<int64_t>(i)].item<double>(), item, 1e-4 * item)
          << kLossNames[i];
    }
    loss.total.backward();
    for (const auto& [name, value] : expected.at("grad_norm").items()) {
      const auto norm = value.get<double>();
      EXPECT_NEAR(at::norm(model.parameters().at(name).grad()).item<double>(), norm, 1e-3 * norm)
          << name;
    }
    for (const auto& [name, parameter] : model.parameters()) {
      EXPECT_TRUE(parameter.grad().defined()) << name;
    }
  }
}

}  // namespace
}  // namespace yoloquant::train

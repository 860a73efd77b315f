// The real model on real images, with quantization.
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <gtest/gtest.h>

#include "checkpoint/checkpoint.h"
#include "data/image_list.h"
#include "data/letterbox.h"
#include "exec/executor.h"
#include "graph/passes.h"
#include "model/load.h"
#include "support/shared_data.h"
#include "train/distillation.h"
#include "train/quantized_training.h"
#include "train/tensors.h"
#include "train/training_annotations.h"

namespace yoloquant::train {
namespace {

constexpr int kSide = 256;

at::Tensor two_images() {
  const data::ImageList list = data::read_image_list(test::shared_data() / "coco" / "calib100.txt");
  Tensor images(DType::kFloat32, {2, 3, kSide, kSide});
  constexpr size_t kSize = size_t{3} * kSide * kSide;
  for (size_t i = 0; i < 2; ++i) {
    data::letterbox(data::read_image(list[i]), kSide, kSide,
                    images.mutable_data<float>().subspan(i * kSize, kSize));
  }
  return exec::view_of(images).clone();
}

class Yolov10nQat : public testing::TestWithParam<const char*> {};

TEST_P(Yolov10nQat, StepsLowerTheLossAndWhatIsStoredComputesTheSame) {
  YQ_REQUIRE_SHARED();
  const quant::Scheme scheme = quant::parse_scheme(GetParam());
  const graph::Graph graph = model::from_checkpoint(
      checkpoint::read(test::shared_data() / "weights" / "yolov10n.pt"), "yolov10n.pt");
  quant::QuantizationConfig config;
  config.scheme = scheme;
  const graph::Graph annotated = annotate_for_training(graph, config);
  const at::Tensor images = two_images();
  TrainableGraph teacher(graph);
  TrainableGraph model(graph);
  QuantizedTraining qat(model, annotated);
  if (qat.needs_input_ranges())
    qat.set_input_ranges(1, [&](int64_t) { return at::Tensor(images); });
  const Logits target = [&] {
    const at::NoGradGuard guard;
    return teacher.forward(images, NormMode::kEvaluation);
  }();
  std::vector<ParameterGroup> groups = parameter_groups(model, 5e-4);
  groups.push_back(qat.parameter_group());
  Optimizer optimizer(OptimizerKind::kSgd, groups);
  std::vector<double> losses;
  for (int i = 0; i < 3; ++i) {
    const at::Tensor loss =
        distillation_loss(model.forward(images, NormMode::kEvaluation), target, kSide * kSide);
    losses.push_back(loss.item<double>());
    loss.backward();
    qat.before_step(0);
    optimizer.clip_gradients(10);
    optimizer.step(std::vector<double>(4, 1e-3), 0.9);
    optimizer.clear_gradients();
    qat.after_step(0);
  }
  EXPECT_LT(losses.back(), losses.front());

  graph::Graph exported = graph::keep_head(annotated, graph::Head::kOneToMany);
  qat.store(exported);
  const at::NoGradGuard guard;
  const at::Tensor own = model.forward(images, NormMode::kEvaluation).one2many.classes.sigmoid();
  const auto run = [&](const graph::Graph& g) {
    exec::Executor executor(g, {.device = "cpu"});
    return executor.run(std::vector<at::Tensor>{images})[0].slice(1, 4).clone();
  };
  const at::Tensor other = run(exported);
  // 8-bit activations on the border of two codes fall to either side by their last bit: what a
  // change of the biases in their last digit does to the result is allowed.
  graph::Graph nearly = exported;
  for (auto& [name, value] : nearly.parameters) {
    if (!name.ends_with(".bias")) continue;
    for (float& x : value.mutable_data<float>()) x *= 1 + 2.5e-7F;
  }
  const double of_last_digits = run(nearly).sub(other).norm().item<double>();
  const double difference = own.sub(other).norm().item<double>();
  const double tolerance = 1e-3 * other.norm().item<double>();
  EXPECT_LT(difference, tolerance + (scheme.quantizes_activations() ? 2 * of_last_digits : 0));
}
INSTANTIATE_TEST_SUITE_P(Schemes, Yolov10nQat, testing::Values("w4a16", "w4a8"));

}  // namespace
}  // namespace yoloquant::train

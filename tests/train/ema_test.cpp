#include "train/ema.h"

#include <gtest/gtest.h>

#include <cmath>

#include "train/tensors.h"

namespace yoloquant::train {
namespace {

TEST(Ema, FollowsParametersAndStatisticsAndGoesOnFromItsState) {
  const TrainableGraph model(tiny_training_graph());
  quant::ParameterAverage ema = make_ema(model, 0.9999, 2);
  const std::string weight = "model.0.conv.weight";
  const std::string variance = "model.0.bn.running_var";
  const NamedTensors state = model.state();
  std::map<std::string, double> expected;
  const auto first = [](const at::Tensor& x) { return x.flatten()[0].item<double>(); };
  for (const auto& name : {weight, variance}) expected[name] = first(state.at(name));
  for (int u = 1; u <= 3; ++u) {
    const double decay = 0.9999 * (1 - std::exp(-u / 2.0));
    for (auto& [name, mean] : expected) {
      state.at(name).detach().add_(1);
      mean = decay * mean + (1 - decay) * first(state.at(name));
    }
    ema.update();
  }
  for (const auto& [name, mean] : expected) EXPECT_NEAR(first(ema.means().at(name)), mean, 1e-5);
  EXPECT_FALSE(ema.means().contains("model.0.bn.num_batches_tracked"));

  quant::ParameterAverage other = make_ema(model, 0.9999, 2);
  exec::copy_into(other.means(), exec::to_host(ema.means()), "ema");
  other.set_updates(ema.updates());
  state.at(weight).detach().add_(1);
  ema.update();
  other.update();
  EXPECT_EQ(values_of(ema.means().at(weight)), values_of(other.means().at(weight)));
}

TEST(Ema, SwapsWithTheModel) {
  const TrainableGraph model(tiny_training_graph());
  quant::ParameterAverage ema = make_ema(model);
  const at::Tensor weight = model.parameters().at("model.0.conv.weight");
  const std::vector<float> start = values_of(weight);
  weight.detach().add_(1);
  const std::vector<float> moved = values_of(weight);
  ema.swap();
  EXPECT_EQ(values_of(weight), start);
  ema.swap();
  EXPECT_EQ(values_of(weight), moved);
}

}  // namespace
}  // namespace yoloquant::train

#include "pipeline/train_checkpoint.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <ctime>

#include "base/error.h"
#include "checkpoint/checkpoint.h"
#include "model/model.h"
#include "pipeline/environment.h"

namespace yoloquant::pipeline {
namespace {

using checkpoint::Value;

constexpr const char* kTraining = "training";  // the key of all that only a training reads

Value tensors_value(const TensorMap& tensors) {
  Value dict = Value::dict();
  for (const auto& [name, tensor] : tensors) dict.set_item(name, tensor);
  return dict;
}

TensorMap tensors_of(const Value& dict) {
  TensorMap tensors;
  for (const auto& [key, value] : dict.entries()) tensors[key.as_string()] = value.tensor();
  return tensors;
}

const Value& item(const Value& dict, std::string_view key) {
  const Value* value = dict.find(key);
  if (value == nullptr) fail("{} has no {}", kTraining, key);
  return *value;
}

int64_t count_of(const Value& dict, std::string_view key, int64_t low = 0) {
  const int64_t value = item(dict, key).as_int();
  if (value < low) fail("{} of {} is {}", key, kTraining, value);
  return value;
}

double number_of(const Value& dict, std::string_view key) {
  const double value = item(dict, key).as_float();
  if (!std::isfinite(value)) fail("{} of {} is {}", key, kTraining, value);
  return value;
}

std::string now() {
  const std::time_t time = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
  std::tm utc = {};
  gmtime_r(&time, &utc);
  std::array<char, 32> text{};
  std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", &utc);
  return text.data();
}

// The trained tensors over the model's own, which include constants such as the DFL projection.
TensorMap full_state(const graph::Graph& graph, const TensorMap& trained) {
  TensorMap state = model::state_dict(graph);
  for (const auto& [name, tensor] : trained) state.insert_or_assign(name, tensor);
  return state;
}

Value training_value(const train::TrainerState& state, const TrainPosition& position) {
  Value sums = Value::list();
  for (const double sum : position.loss_sums) sums.mutable_items().emplace_back(sum);
  return Value::dict({{"epoch", position.epoch},
                      {"batch", position.batch},
                      {"loss_sums", sums},
                      {"best_epoch", position.best_epoch},
                      {"best_fitness", position.best_fitness},
                      {"map50", position.map50},
                      {"map", position.map},
                      {"seconds", position.seconds},
                      {"seconds_before", position.seconds_before},
                      {"best_map", position.best_map},
                      {"stopped", position.stopped},
                      {"watch", position.watch},
                      {"iteration", state.iteration},
                      {"last_step", state.last_step},
                      {"updates", state.updates},
                      {"gradients", tensors_value(state.gradients)},
                      {"scaler", tensors_value(state.scaler)},
                      {"parts", tensors_value(state.parts)},
                      {"part_average", tensors_value(state.part_average)}});
}

void read_training(const Value& training, train::TrainerState& state, TrainPosition& position) {
  position.epoch = count_of(training, "epoch");
  position.batch = count_of(training, "batch");
  const checkpoint::Items& sums = item(training, "loss_sums").items();
  if (sums.size() != position.loss_sums.size()) fail("loss_sums has {} values", sums.size());
  std::ranges::transform(sums, position.loss_sums.begin(),
                         [](const Value& sum) { return sum.as_float(); });
  position.best_epoch = count_of(training, "best_epoch", -1);
  position.best_fitness = number_of(training, "best_fitness");
  position.map50 = number_of(training, "map50");
  position.map = number_of(training, "map");
  position.seconds = number_of(training, "seconds");
  position.seconds_before = number_of(training, "seconds_before");
  position.best_map = number_of(training, "best_map");
  position.stopped = item(training, "stopped").as_bool();
  position.watch = item(training, "watch").as_string();
  state.iteration = count_of(training, "iteration");
  state.last_step = count_of(training, "last_step", -1);
  state.updates = count_of(training, "updates");
  state.gradients = tensors_of(item(training, "gradients"));
  state.scaler = tensors_of(item(training, "scaler"));
  state.parts = tensors_of(item(training, "parts"));
  state.part_average = tensors_of(item(training, "part_average"));
}

}  // namespace

void write_train_checkpoint(const std::filesystem::path& path, const TrainModel& model,
                            const train::TrainerState& state, const TrainPosition& position,
                            const Value& train_args) {
  checkpoint::Checkpoint file = model.description;
  file.state = full_state(model.graph, state.average);
  file.raw_state = full_state(model.graph, state.model);
  file.train_args = train_args;
  file.epoch = position.epoch - 1;  // the last one that is done
  file.date = now();
  file.version = environment().yoloquant_version;
  file.optimizer = Value::dict({{"state", tensors_value(state.optimizer)}});
  file.extras.set_item("best_fitness", position.best_fitness);
  file.extras.set_item("updates", state.updates);
  file.extras.set_item(kTraining, training_value(state, position));
  checkpoint::write(path, file, {.format = checkpoint::Format::kTorch, .dtype = {}});
}

void read_train_checkpoint(const std::filesystem::path& path, train::TrainerState& state,
                           TrainPosition& position) {
  checkpoint::ReadOptions options;
  options.both_entries = true;
  checkpoint::Checkpoint file = checkpoint::read(path, options);
  with_context(path.string(), [&] {
    const Value* training = file.extras.find(kTraining);
    const Value* moments = file.optimizer.is_dict() ? file.optimizer.find("state") : nullptr;
    if (training == nullptr || !training->is_dict() || moments == nullptr ||
        file.raw_state.empty()) {
      fail("holds no training to go on with");
    }
    read_training(*training, state, position);
    state.optimizer = tensors_of(*moments);
    state.model = std::move(file.raw_state);
    state.average = std::move(file.state);
  });
}

}  // namespace yoloquant::pipeline

#include "train/collapse_watch.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>

#include "base/error.h"

namespace yoloquant::train {
namespace {

// A figure of a layer, and from where on it is a sign of trouble. What is far below `alarm` moves
// by large factors without meaning anything. Where `inherited`, a healthy model may have as much
// before the first step (a depthwise conv of few weights has dead codes, a range chosen by least
// error clips), so that only what is added in training counts.
struct Sign {
  std::string_view name;
  double LayerStatistics::* value;
  double alarm;
  bool inherited;
};

constexpr std::array<Sign, 8> kSigns{{
    {"oscillation", &LayerStatistics::oscillation, 0.05, false},
    {"dead codes", &LayerStatistics::dead_codes, 0.5, true},
    {"dead channels", &LayerStatistics::dead_channels, 0.1, true},
    {"saturated weights", &LayerStatistics::saturated, 0.1, true},
    {"drift of weight steps (log2)", &LayerStatistics::step_drift, 1, false},
    {"clipped inputs", &LayerStatistics::clipped_inputs, 0.1, true},
    {"drift of the input step (log2)", &LayerStatistics::input_step_drift, 1, false},
    {"gradient of weights", &LayerStatistics::weight_gradient, 1e4, false},
}};

// Of 1 where a figure has come from nothing to its alarm.
double growth(const Sign& sign, double before, double now) {
  if (!std::isfinite(now)) return 1e9;
  return (now - before) / sign.alarm;
}

struct Suspect {
  double growth = 0;
  std::string text;
};

// The figure of a layer that has grown most.
Suspect suspect(const LayerStatistics& before, const LayerStatistics& now) {
  Suspect worst;
  for (const Sign& sign : kSigns) {
    const double g = growth(sign, before.*sign.value, now.*sign.value);
    if (g <= worst.growth) continue;
    worst = {g, fmt::format("{} ({} {:.3g} -> {:.3g})", now.conv, sign.name, before.*sign.value,
                            now.*sign.value)};
  }
  return worst;
}

const LayerStatistics* find(const std::vector<LayerStatistics>& layers, const std::string& conv) {
  const auto found =
      std::ranges::find_if(layers, [&](const LayerStatistics& l) { return l.conv == conv; });
  return found == layers.end() ? nullptr : &*found;
}

// What is suspicious about a layer, in words: "oscillation 0.31, saturated weights 0.12"; "" when
// nothing is. `first` is the layer in the first good epoch.
std::string suspicious(const LayerStatistics& first, const LayerStatistics& layer) {
  std::string text;
  for (const Sign& sign : kSigns) {
    const double value = layer.*sign.value;
    if (value - (sign.inherited ? first.*sign.value : 0) < sign.alarm) continue;
    text += fmt::format("{}{} {:.3g}", text.empty() ? "" : ", ", sign.name, value);
  }
  return text;
}

nlohmann::json layer_json(const LayerStatistics& layer) {
  nlohmann::json json{{"conv", layer.conv}};
  for (const Sign& sign : kSigns) json[std::string(sign.name)] = layer.*sign.value;
  return json;
}

LayerStatistics layer_from(const nlohmann::json& json) {
  LayerStatistics layer;
  layer.conv = json.at("conv").get<std::string>();
  for (const Sign& sign : kSigns) {
    // JSON has no NaN: such a figure comes back as null.
    const nlohmann::json& value = json.at(std::string(sign.name));
    layer.*sign.value = value.is_null() ? std::nan("") : value.get<double>();
  }
  return layer;
}

nlohmann::json layers_json(const std::vector<LayerStatistics>& layers) {
  nlohmann::json json = nlohmann::json::array();
  for (const LayerStatistics& layer : layers) json.push_back(layer_json(layer));
  return json;
}

std::vector<LayerStatistics> layers_from(const nlohmann::json& json) {
  std::vector<LayerStatistics> layers;
  for (const nlohmann::json& layer : json) layers.push_back(layer_from(layer));
  return layers;
}

}  // namespace

CollapseWatch::CollapseWatch(const WatchOptions& options) : options_(options) { check(options); }

void check(const WatchOptions& options) {
  if (options.relative_fall <= 0 || options.relative_fall >= 1 || options.absolute_fall < 0) {
    fail_usage("the fall of mAP that counts as collapse must lie between 0 and 1, not at {}",
               options.relative_fall);
  }
  if (options.tries < 0) fail_usage("the number of rollbacks is negative");
  if (options.rate_factor <= 0 || options.rate_factor > 1) {
    fail_usage("a rollback multiplies rates by more than 0 and at most 1, not {}",
               options.rate_factor);
  }
}

WatchDecision CollapseWatch::look(const EpochHealth& health) {
  WatchDecision decision;
  const std::string wrong = what_is_wrong(health);
  if (wrong.empty()) {
    if (!good_epoch_) first_ = health.layers;
    for (const LayerStatistics& layer : health.layers) {
      const LayerStatistics* found = find(first_, layer.conv);
      const LayerStatistics first = found != nullptr ? *found : LayerStatistics{};
      const std::string now = suspicious(first, layer);
      if (!now.empty() && warned_.insert(layer.conv).second) {
        decision.warnings.push_back(fmt::format("{}: {}", layer.conv, now));
      }
    }
    decision.is_good = true;
    if (health.map) best_ = std::max(best_.value_or(0), *health.map);
    good_ = health.layers;
    good_epoch_ = health.epoch;
    return decision;
  }
  decision.diagnosis = fmt::format("epoch {}: {}{}", health.epoch, wrong, blame(health.layers));
  if (rollbacks_ >= options_.tries || !good_epoch_) {
    decision.verdict = Verdict::kStop;
    decision.diagnosis += good_epoch_ ? fmt::format("; {} rollbacks did not help", rollbacks_)
                                      : "; there is no good state to go back to";
    return decision;
  }
  ++rollbacks_;
  rate_factor_ *= options_.rate_factor;
  decision.verdict = Verdict::kRollBack;
  decision.diagnosis +=
      fmt::format("; going back to epoch {}, learning rates times {:.3g} from now on", *good_epoch_,
                  rate_factor_);
  return decision;
}

std::string CollapseWatch::what_is_wrong(const EpochHealth& health) const {
  if (!health.finite) return "the loss or its gradient is not finite";
  if (!health.map || !best_) return "";
  if (!std::isfinite(*health.map)) return "mAP is not a number";
  const bool fell = *health.map < (1 - options_.relative_fall) * *best_ &&
                    *health.map < *best_ - options_.absolute_fall;
  if (!fell) return "";
  std::string text = fmt::format("mAP50-95 fell to {:.4f} from {:.4f}", *health.map, *best_);
  if (health.weights_map) {
    text += fmt::format(" (of the weights without averaging {:.4f})", *health.weights_map);
  }
  return text;
}

std::string CollapseWatch::blame(const std::vector<LayerStatistics>& layers) const {
  std::vector<Suspect> suspects;
  for (const LayerStatistics& layer : layers) {
    const LayerStatistics* before = find(good_, layer.conv);
    Suspect found = suspect(before != nullptr ? *before : LayerStatistics{}, layer);
    if (!found.text.empty()) suspects.push_back(std::move(found));
  }
  std::ranges::stable_sort(suspects, std::ranges::greater{}, &Suspect::growth);
  std::string text;
  const auto count = std::min(suspects.size(), static_cast<size_t>(options_.blamed));
  for (size_t i = 0; i < count; ++i)
    text += (i == 0 ? "; most changed: " : ", ") + suspects[i].text;
  return text;
}

nlohmann::json CollapseWatch::state() const {
  nlohmann::json json{{"rollbacks", rollbacks_}, {"rate_factor", rate_factor_}};
  json["best"] = best_ ? nlohmann::json(*best_) : nlohmann::json();
  json["good_epoch"] = good_epoch_ ? nlohmann::json(*good_epoch_) : nlohmann::json();
  json["first_layers"] = layers_json(first_);
  json["good_layers"] = layers_json(good_);
  json["warned"] = warned_;
  return json;
}

void CollapseWatch::restore(const nlohmann::json& state) {
  try {
    CollapseWatch read(options_);
    read.rollbacks_ = state.at("rollbacks").get<int64_t>();
    read.rate_factor_ = state.at("rate_factor").get<double>();
    if (!state.at("best").is_null()) read.best_ = state.at("best").get<double>();
    if (!state.at("good_epoch").is_null()) {
      read.good_epoch_ = state.at("good_epoch").get<int64_t>();
    }
    read.first_ = layers_from(state.at("first_layers"));
    read.good_ = layers_from(state.at("good_layers"));
    read.warned_ = state.at("warned").get<std::set<std::string>>();
    if (read.rollbacks_ < 0 || !(read.rate_factor_ > 0 && read.rate_factor_ <= 1)) {
      fail("counts out of range");
    }
    *this = std::move(read);
  } catch (const nlohmann::json::exception& error) {
    fail("the state of the collapse watch is damaged: {}", error.what());
  } catch (const Error& error) {
    fail("the state of the collapse watch is damaged: {}", error.what());
  }
}

}  // namespace yoloquant::train

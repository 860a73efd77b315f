#include "train/collapse_watch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"

namespace yoloquant::train {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

LayerStatistics layer(const std::string& conv, double oscillation, double saturated = 0) {
  LayerStatistics result;
  result.conv = conv;
  result.oscillation = oscillation;
  result.saturated = saturated;
  return result;
}

EpochHealth epoch(int64_t number, double map, std::vector<LayerStatistics> layers = {}) {
  return {.epoch = number,
          .finite = true,
          .map = map,
          .weights_map = std::nullopt,
          .gradient_norm = 1,
          .layers = std::move(layers)};
}

TEST(CollapseWatch, OrdinaryTrainingIsLeftAlone) {
  CollapseWatch watch({});
  int64_t number = 0;
  // Little at first, where mAP jumps by factors; then noise of .05.
  for (const double map : {0.0, 0.01, 0.002, 0.05, 0.035, 0.2, 0.3, 0.26, 0.31}) {
    const WatchDecision decision = watch.look(epoch(number++, map, {layer("a", 0.01)}));
    EXPECT_EQ(decision.verdict, Verdict::kGoOn) << map;
    EXPECT_TRUE(decision.is_good);
    EXPECT_THAT(decision.warnings, IsEmpty());
  }
  EXPECT_EQ(watch.best_map(), 0.31);
  EXPECT_EQ(watch.rate_factor(), 1);
}

TEST(CollapseWatch, AFallRollsBackAndNamesTheLayersThatMoved) {
  CollapseWatch watch({.blamed = 2});
  watch.look(epoch(0, 0.226, {layer("calm", 0.01), layer("wild", 0.02), layer("full", 0, 0.01)}));
  EpochHealth bad =
      epoch(1, 0.0118, {layer("calm", 0.012), layer("wild", 0.4), layer("full", 0, 0.5)});
  bad.weights_map = 0.01;
  const WatchDecision decision = watch.look(bad);
  EXPECT_EQ(decision.verdict, Verdict::kRollBack);
  EXPECT_FALSE(decision.is_good);
  EXPECT_THAT(decision.diagnosis,
              AllOf(HasSubstr("0.0118 from 0.2260"), HasSubstr("without averaging 0.0100"),
                    HasSubstr("wild (oscillation 0.02 -> 0.4), full (saturated weights"),
                    HasSubstr("back to epoch 0"), Not(HasSubstr("calm"))));
  EXPECT_EQ(watch.rate_factor(), 0.5);
  EXPECT_EQ(watch.best_map(), 0.226);
}

TEST(CollapseWatch, AModelOfFewerBitsIsNotMeasuredByTheOneBefore) {
  CollapseWatch watch({});
  watch.look(epoch(0, 0.5, {layer("a", 0)}));
  watch.forget_best();
  EXPECT_EQ(watch.look(epoch(1, 0.2, {layer("a", 0)})).verdict, Verdict::kGoOn);
  EXPECT_EQ(watch.best_map(), 0.2);
  EXPECT_EQ(watch.look(epoch(2, 0.1, {layer("a", 0)})).verdict, Verdict::kRollBack);
}

TEST(CollapseWatch, StopsAfterItsTries) {
  CollapseWatch watch({.tries = 2});
  watch.look(epoch(0, 0.3));
  EXPECT_EQ(watch.look(epoch(1, 0.1)).verdict, Verdict::kRollBack);
  EXPECT_EQ(watch.look(epoch(1, 0.1)).verdict, Verdict::kRollBack);
  const WatchDecision last = watch.look(epoch(1, 0.1));
  EXPECT_EQ(last.verdict, Verdict::kStop);
  EXPECT_THAT(last.diagnosis, HasSubstr("2 rollbacks did not help"));
}

TEST(CollapseWatch, LossesThatAreNotFinite) {
  CollapseWatch watch({});
  EpochHealth bad = epoch(0, 0.2);
  bad.finite = false;
  const WatchDecision first = watch.look(bad);
  EXPECT_EQ(first.verdict, Verdict::kStop);
  EXPECT_THAT(first.diagnosis, HasSubstr("no good state"));
  watch.look(epoch(0, 0.2));
  LayerStatistics broken = layer("broken", 0);
  broken.weight_gradient = std::nan("");
  bad.map.reset();
  bad.layers = {layer("fine", 0.04), broken};
  const WatchDecision second = watch.look(bad);
  EXPECT_EQ(second.verdict, Verdict::kRollBack);
  EXPECT_THAT(second.diagnosis, HasSubstr("most changed: broken"));
}

TEST(CollapseWatch, WarnsOnceOfALayer) {
  CollapseWatch watch({});
  EXPECT_THAT(watch.look(epoch(0, 0.2, {layer("a", 0.01)})).warnings, IsEmpty());
  EXPECT_THAT(watch.look(epoch(1, 0.2, {layer("a", 0.2)})).warnings,
              ElementsAre("a: oscillation 0.2"));
  EXPECT_THAT(watch.look(epoch(2, 0.2, {layer("a", 0.3)})).warnings, IsEmpty());
  EXPECT_THAT(watch.look(epoch(3, 0.2, {layer("a", 0.01)})).warnings, IsEmpty());
  CollapseWatch resumed({});
  resumed.restore(watch.state());
  EXPECT_THAT(resumed.look(epoch(4, 0.2, {layer("a", 0.4)})).warnings, IsEmpty());
}

TEST(CollapseWatch, WhatAModelHasBeforeTrainingIsNoWarning) {
  CollapseWatch watch({});
  EXPECT_THAT(watch.look(epoch(0, 0.2, {layer("a", 0.01, 0.15)})).warnings, IsEmpty());
  EXPECT_THAT(watch.look(epoch(1, 0.2, {layer("a", 0.01, 0.2)})).warnings, IsEmpty());
  EXPECT_THAT(watch.look(epoch(2, 0.2, {layer("a", 0.01, 0.3)})).warnings,
              ElementsAre("a: saturated weights 0.3"));
  CollapseWatch moving({});
  EXPECT_THAT(moving.look(epoch(0, 0.2, {layer("a", 0.06)})).warnings,
              ElementsAre("a: oscillation 0.06"));
}

TEST(CollapseWatch, GoesOnFromItsState) {
  CollapseWatch watch({.tries = 2});
  watch.look(epoch(4, 0.3, {layer("a", 0.01)}));
  watch.look(epoch(5, 0.1, {layer("a", 0.5)}));
  const std::string text = watch.state().dump();
  CollapseWatch other({.tries = 2});
  other.restore(nlohmann::json::parse(text));
  EXPECT_EQ(other.state(), watch.state());
  const EpochHealth bad = epoch(5, 0.1, {layer("a", 0.5)});
  EXPECT_EQ(other.look(bad).diagnosis, watch.look(bad).diagnosis);
  EXPECT_EQ(other.look(bad).verdict, Verdict::kStop);
  EXPECT_THROW(other.restore(nlohmann::json::parse(R"({"best": 1})")), Error);
  EXPECT_THROW(other.restore(nlohmann::json::parse("[]")), Error);
}

TEST(CollapseWatch, OptionsOutOfRange) {
  EXPECT_THROW(CollapseWatch({.relative_fall = 1.5}), Error);
  EXPECT_THROW(CollapseWatch({.tries = -1}), Error);
  EXPECT_THROW(CollapseWatch({.rate_factor = 0}), Error);
}

}  // namespace
}  // namespace yoloquant::train

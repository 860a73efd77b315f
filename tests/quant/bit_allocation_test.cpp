#include "quant/bit_allocation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <limits>

#include "base/error.h"
#include "base/random.h"

namespace yoloquant::quant {
namespace {

using Layers = std::vector<LayerChoices>;

// Sizes of all orders of magnitude; harm mostly falls with the bits, as measured ones do.
Layers random_layers(size_t count, uint64_t seed) {
  Random random(seed);
  Layers layers;
  for (size_t i = 0; i < count; ++i) {
    LayerChoices layer{"layer", {}};
    const auto weights = static_cast<int64_t>(1 + random.below(uint64_t{1} << random.below(12)));
    double harm = random.uniform(0, 1);
    for (const int bits : {3, 4, 6, 8}) {
      if (layer.choices.empty() || random.below(5) > 0) {
        layer.choices.push_back({bits, bits * weights, harm});
      }
      harm *= random.uniform(0.02F, 1.1F);
    }
    random.shuffle(layer.choices);
    layers.push_back(layer);
  }
  return layers;
}

// Calls visit(size, harm) for every allocation.
template <typename Visit>
void for_all(const Layers& layers, const Visit& visit, size_t from = 0, int64_t size = 0,
             double harm = 0) {
  if (from == layers.size()) {
    visit(size, harm);
    return;
  }
  for (const BitChoice& choice : layers[from].choices) {
    for_all(layers, visit, from + 1, size + choice.size, harm + choice.harm);
  }
}

void expect_adds_up(const Layers& layers, const Allocation& allocation) {
  ASSERT_EQ(allocation.chosen.size(), layers.size());
  int64_t size = 0;
  double harm = 0;
  for (size_t i = 0; i < layers.size(); ++i) {
    size += layers[i].choices.at(allocation.chosen[i]).size;
    harm += layers[i].choices[allocation.chosen[i]].harm;
  }
  EXPECT_EQ(size, allocation.size);
  EXPECT_DOUBLE_EQ(harm, allocation.harm);
}

TEST(BitAllocation, NoAllocationOfFewLayersIsBetter) {
  for (uint64_t seed = 0; seed < 60; ++seed) {
    SCOPED_TRACE(seed);
    const Layers layers = random_layers(1 + seed % 7, seed);
    const auto corners = best_allocations(layers);
    const int64_t low = corners.front().size;
    const int64_t high = corners.back().size;
    for (const double part : {0.0, 0.1, 0.37, 0.8, 1.0, 1.5}) {
      const int64_t budget = low + static_cast<int64_t>(part * static_cast<double>(high - low));
      double least = std::numeric_limits<double>::infinity();
      for_all(layers, [&](int64_t size, double harm) {
        if (size <= budget) least = std::min(least, harm);
      });
      const Allocation allocation = least_harm(layers, budget);
      expect_adds_up(layers, allocation);
      EXPECT_LE(allocation.size, budget);
      EXPECT_NEAR(allocation.harm, least, 1e-9);
      EXPECT_EQ(allocation.gap, 0);

      const double limit = allocation.harm * 1.2 + 1e-6;
      int64_t smallest = std::numeric_limits<int64_t>::max();
      for_all(layers, [&](int64_t size, double harm) {
        if (harm <= limit) smallest = std::min(smallest, size);
      });
      const Allocation small = least_size(layers, limit);
      expect_adds_up(layers, small);
      EXPECT_LE(small.harm, limit * (1 + 1e-12));
      EXPECT_EQ(small.size, smallest);
      EXPECT_EQ(small.gap, 0);
    }
  }
}

TEST(BitAllocation, ModelsOfManyLayersAreSolvedExactly) {
  for (uint64_t seed = 100; seed < 104; ++seed) {
    const Layers layers = random_layers(160, seed);
    const auto corners = best_allocations(layers);
    const int64_t budget = (corners.front().size + corners.back().size) / 2;
    const Allocation allocation = least_harm(layers, budget);
    expect_adds_up(layers, allocation);
    EXPECT_LE(allocation.size, budget);
    EXPECT_EQ(allocation.gap, 0);
    // Between the corners on both sides.
    const auto after = std::ranges::find_if(
        corners, [&](const Allocation& corner) { return corner.size > budget; });
    ASSERT_NE(after, corners.begin());
    EXPECT_LE(allocation.harm, std::prev(after)->harm);
    EXPECT_GE(allocation.harm, after->harm);
  }
}

TEST(BitAllocation, TheGapHoldsWhereStatesRunOut) {
  int with_gap = 0;
  for (uint64_t seed = 0; seed < 40; ++seed) {
    SCOPED_TRACE(seed);
    const Layers layers = random_layers(8, seed);
    const auto corners = best_allocations(layers);
    const int64_t budget = (corners.front().size * 2 + corners.back().size) / 3;
    const Allocation exact = least_harm(layers, budget);
    const Allocation hurried = least_harm(layers, budget, 1);
    expect_adds_up(layers, hurried);
    EXPECT_LE(hurried.size, budget);
    EXPECT_GE(hurried.harm, exact.harm);
    EXPECT_LE(hurried.harm - hurried.gap, exact.harm + 1e-9);
    with_gap += hurried.harm > exact.harm + 1e-9 ? 1 : 0;
  }
  EXPECT_GT(with_gap, 0);
}

TEST(BitAllocation, CornersAreTheBestOfTheirSize) {
  const Layers layers = random_layers(6, 7);
  const auto corners = best_allocations(layers);
  ASSERT_GT(corners.size(), 4U);
  for (size_t i = 0; i < corners.size(); ++i) {
    expect_adds_up(layers, corners[i]);
    for_all(layers, [&](int64_t size, double harm) {
      if (size <= corners[i].size) {
        EXPECT_GE(harm, corners[i].harm - 1e-12);
      }
    });
    if (i == 0) continue;
    EXPECT_GT(corners[i].size, corners[i - 1].size);
    EXPECT_LT(corners[i].harm, corners[i - 1].harm);
  }
}

TEST(BitAllocation, WhatCannotBeIsRefused) {
  const Layers layers{{"a", {{4, 40, 1}, {8, 80, 0.1}}}, {"b", {{4, 400, 2}}}};
  EXPECT_EQ(least_harm(layers, 440).size, 440);
  EXPECT_EQ(least_harm(layers, 480).harm, 2.1);
  EXPECT_EQ(least_size(layers, 2.5).size, 480);
  for (const auto& [body, what] : std::vector<std::pair<std::function<void()>, std::string>>{
           {[&] { least_harm(layers, 439); }, "the smallest choices take 440"},
           {[&] { least_size(layers, 2); }, "the least is 2.1"}}) {
    try {
      body();
      ADD_FAILURE() << what;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), Error::Kind::kUsage);
      EXPECT_THAT(error.what(), testing::HasSubstr(what));
    }
  }
  EXPECT_THROW(least_harm({{"a", {}}}, 100), Error);
  EXPECT_THROW(least_harm({{"a", {{4, 4, std::numeric_limits<double>::quiet_NaN()}}}}, 100), Error);
}

}  // namespace
}  // namespace yoloquant::quant

#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

// How many bits each layer gets: a multiple-choice knapsack. One choice is taken for each layer;
// sizes and harms add up. That harms do is an assumption, see docs/quantization.md.
namespace yoloquant::quant {

struct BitChoice {
  int bits = 0;      // of a weight; 0: stays float
  int64_t size = 0;  // bits that the layer's weights take in all
  double harm = 0;
};

struct LayerChoices {
  std::string layer;
  std::vector<BitChoice> choices;  // in any order, at least one
};

struct Allocation {
  std::vector<size_t> chosen;  // for each layer, index into its choices
  int64_t size = 0;
  double harm = 0;
  // Proven: no allocation within the limit is better by more than this, in harm or in size. 0 (up
  // to rounding) unless the search ran into its limit of states.
  double gap = 0;
};

// The allocation of least harm with a size of at most `max_size`. Throws Error (usage) when even
// the smallest choices take more.
//
// Method: states (size, harm) layer by layer; a state is dropped when another is no worse in both,
// or when its lower bound (the linear relaxation of the remaining layers, i.e. the lower convex
// hulls of their choices filled in order of slope) is no better than the best allocation known.
// Source: Pisinger, A minimal algorithm for the multiple-choice knapsack problem (1995), without
// its core. `max_states` bounds the memory; models of a hundred layers need some thousands.
Allocation least_harm(const std::vector<LayerChoices>& layers, int64_t max_size,
                      size_t max_states = 100'000);

// The smallest allocation whose harm is at most `max_harm`. Throws Error (usage) when there is
// none.
Allocation least_size(const std::vector<LayerChoices>& layers, double max_harm,
                      size_t max_states = 100'000);

// Allocations from the smallest to the least harmful one, each the best of its size: the corners of
// the lower convex hull of all (size, harm).
std::vector<Allocation> best_allocations(const std::vector<LayerChoices>& layers);

}  // namespace yoloquant::quant

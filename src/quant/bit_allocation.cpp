#include "quant/bit_allocation.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/error.h"

namespace yoloquant::quant {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
// Sums of the same numbers in another order differ by less than this, relative.
constexpr double kRounding = 1e-12;

// A choice without its meaning: `value` is to be small where the sum of `cost` is limited.
struct Option {
  double cost = 0;
  double value = 0;
  size_t index = 0;  // into the layer's choices
};
using Options = std::vector<Option>;

// The corners of the lower convex hull, from the cheapest option to the one of least value.
Options lower_hull(Options options) {
  std::ranges::sort(options, [](const Option& a, const Option& b) {
    return a.cost != b.cost ? a.cost < b.cost : a.value < b.value;
  });
  Options hull;
  for (const Option& next : options) {
    if (!hull.empty() && next.value >= hull.back().value) continue;
    while (hull.size() >= 2) {
      const Option& a = hull[hull.size() - 2];
      const Option& b = hull.back();
      if ((b.value - a.value) * (next.cost - a.cost) <=
          (next.value - a.value) * (b.cost - a.cost)) {
        break;
      }
      hull.pop_back();
    }
    hull.push_back(next);
  }
  return hull;
}

// A step along the hull of a layer.
struct Segment {
  double cost = 0;   // > 0
  double value = 0;  // < 0
  size_t layer = 0;
  size_t index = 0;  // of the option it leads to

  double slope() const { return value / cost; }
};

// The linear relaxation of the layers `first`, `first` + 1, ...: all at their cheapest option, then
// the segments in order of slope. A layer's own segments come in their order, as hulls are convex.
class Relaxation {
 public:
  Relaxation(const std::vector<Options>& hulls, size_t first) {
    for (size_t layer = first; layer < hulls.size(); ++layer) {
      const Options& hull = hulls[layer];
      base_cost_ += hull.front().cost;
      base_value_ += hull.front().value;
      for (size_t i = 1; i < hull.size(); ++i) {
        segments_.push_back({hull[i].cost - hull[i - 1].cost, hull[i].value - hull[i - 1].value,
                             layer, hull[i].index});
      }
    }
    std::ranges::stable_sort(
        segments_, [](const Segment& a, const Segment& b) { return a.slope() < b.slope(); });
    costs_.push_back(0);
    values_.push_back(0);
    for (const Segment& segment : segments_) {
      costs_.push_back(costs_.back() + segment.cost);
      values_.push_back(values_.back() + segment.value);
    }
  }

  // The least value at a cost of at most `budget`, and how many whole segments it takes; `whole` is
  // the value without the last, broken one: that of an allocation which exists.
  struct Bound {
    double value = kInfinity;
    double whole = kInfinity;
    size_t segments = 0;
  };
  Bound bound(double budget) const {
    const double left = budget - base_cost_;
    if (left < -kRounding * std::abs(budget)) return {};
    const auto after = std::ranges::upper_bound(costs_, std::max(left, 0.0));
    const auto taken = static_cast<size_t>(after - costs_.begin()) - 1;
    Bound bound{base_value_ + values_[taken], base_value_ + values_[taken], taken};
    if (taken < segments_.size()) bound.value += segments_[taken].slope() * (left - costs_[taken]);
    return bound;
  }

  const std::vector<Segment>& segments() const { return segments_; }

 private:
  double base_cost_ = 0;
  double base_value_ = 0;
  std::vector<Segment> segments_;
  std::vector<double> costs_;  // running sums over the segments
  std::vector<double> values_;
};

struct State {
  double cost = 0;
  double value = 0;
  double bound = 0;
  size_t parent = 0;  // among the states of the layer before
  size_t index = 0;   // the option taken
};
using States = std::vector<State>;

struct Solution {
  std::vector<size_t> chosen;
  double value = kInfinity;
  double gap = 0;
};

class Search {
 public:
  // Large layers first: what the small ones leave open is then little.
  Search(const std::vector<Options>& layers, double budget, size_t max_states)
      : budget_(budget), max_states_(max_states) {
    order_.resize(layers.size());
    std::iota(order_.begin(), order_.end(), 0);
    const auto spread = [&](size_t layer) {
      const auto [low, high] = std::ranges::minmax(layers[layer], {}, &Option::cost);
      return high.cost - low.cost;
    };
    std::ranges::stable_sort(order_, [&](size_t a, size_t b) { return spread(a) > spread(b); });
    for (const size_t layer : order_) {
      layers_.push_back(layers[layer]);
      hulls_.push_back(lower_hull(layers[layer]));
    }
    for (size_t first = 0; first <= layers_.size(); ++first) rest_.emplace_back(hulls_, first);
  }

  Solution solve() {
    consider(State{}, 0);
    steps_.push_back({State{}});
    for (size_t layer = 0; layer < layers_.size(); ++layer) steps_.push_back(extend(layer));
    Solution solution;
    if (best_ == kInfinity) return solution;
    solution.value = best_;
    solution.gap = dropped_ < best_ ? best_ - dropped_ : 0;
    solution.chosen = reconstruct();
    return solution;
  }

 private:
  // Completes a state by the whole segments of the relaxation.
  void consider(const State& state, size_t step) {
    const double value = state.value + rest_[step].bound(budget_ - state.cost).whole;
    if (value >= best_) return;
    best_ = value;
    best_state_ = state;
    best_step_ = step;
  }

  double limit() const { return best_ - kRounding * std::abs(best_); }

  States extend(size_t layer) {
    States next;
    const States& states = steps_.back();
    for (size_t parent = 0; parent < states.size(); ++parent) {
      for (const Option& option : layers_[layer]) {
        State state{states[parent].cost + option.cost, states[parent].value + option.value, 0,
                    parent, option.index};
        state.bound = state.value + rest_[layer + 1].bound(budget_ - state.cost).value;
        if (state.bound == kInfinity) continue;
        consider(state, layer + 1);
        if (state.bound < limit()) next.push_back(state);
      }
    }
    std::erase_if(next, [&](const State& state) { return state.bound >= limit(); });
    return limited(without_dominated(std::move(next)));
  }

  static States without_dominated(States states) {
    std::ranges::sort(states, [](const State& a, const State& b) {
      return a.cost != b.cost ? a.cost < b.cost : a.value < b.value;
    });
    double least = kInfinity;
    std::erase_if(states, [&](const State& state) {
      if (state.value >= least) return true;
      least = state.value;
      return false;
    });
    return states;
  }

  // What is dropped here is what the gap speaks of.
  States limited(States states) {
    if (states.size() <= max_states_) return states;
    const auto end = states.begin() + static_cast<ptrdiff_t>(max_states_);
    std::ranges::nth_element(states, end, {}, &State::bound);
    dropped_ = std::min(dropped_, end->bound);
    states.erase(end, states.end());
    return states;
  }

  std::vector<size_t> reconstruct() const {
    std::vector<size_t> chosen(order_.size());
    State state = best_state_;
    for (size_t step = best_step_; step > 0; --step) {
      chosen[order_[step - 1]] = state.index;
      state = steps_[step - 1][state.parent];
    }
    const Relaxation& rest = rest_[best_step_];
    for (size_t i = best_step_; i < order_.size(); ++i) {
      chosen[order_[i]] = hulls_[i].front().index;
    }
    const size_t taken = rest.bound(budget_ - best_state_.cost).segments;
    for (size_t i = 0; i < taken; ++i) {
      const Segment& segment = rest.segments()[i];
      chosen[order_[segment.layer]] = segment.index;
    }
    return chosen;
  }

  double budget_;
  size_t max_states_;
  std::vector<size_t> order_;    // position -> layer
  std::vector<Options> layers_;  // by position, as is all below
  std::vector<Options> hulls_;
  std::vector<Relaxation> rest_;  // of the positions from here on
  std::vector<States> steps_;     // after as many layers
  double best_ = kInfinity;
  State best_state_;
  size_t best_step_ = 0;
  double dropped_ = kInfinity;  // least bound of what the limit of states cut off
};

void check(const std::vector<LayerChoices>& layers) {
  for (const LayerChoices& layer : layers) {
    if (layer.choices.empty()) fail("{}: no bits to choose from", layer.layer);
    for (const BitChoice& choice : layer.choices) {
      if (choice.size < 0 || !std::isfinite(choice.harm)) {
        fail("{}: {} bits have size {} and harm {}", layer.layer, choice.bits, choice.size,
             choice.harm);
      }
    }
  }
}

std::vector<Options> options_of(const std::vector<LayerChoices>& layers, bool size_is_cost) {
  check(layers);
  std::vector<Options> result;
  for (const LayerChoices& layer : layers) {
    Options& options = result.emplace_back();
    for (size_t i = 0; i < layer.choices.size(); ++i) {
      const auto size = static_cast<double>(layer.choices[i].size);
      const double harm = layer.choices[i].harm;
      options.push_back(size_is_cost ? Option{size, harm, i} : Option{harm, size, i});
    }
  }
  return result;
}

Allocation allocation_of(const std::vector<LayerChoices>& layers, std::vector<size_t> chosen) {
  Allocation allocation;
  for (size_t i = 0; i < layers.size(); ++i) {
    const BitChoice& choice = layers[i].choices[chosen[i]];
    allocation.size += choice.size;
    allocation.harm += choice.harm;
  }
  allocation.chosen = std::move(chosen);
  return allocation;
}

}  // namespace

Allocation least_harm(const std::vector<LayerChoices>& layers, int64_t max_size,
                      size_t max_states) {
  Solution solution =
      Search(options_of(layers, /*size_is_cost=*/true), static_cast<double>(max_size), max_states)
          .solve();
  if (solution.chosen.size() != layers.size()) {
    const int64_t least = best_allocations(layers).front().size;
    fail_usage("{} bits of weights are too few: the smallest choices take {}", max_size, least);
  }
  Allocation allocation = allocation_of(layers, std::move(solution.chosen));
  allocation.gap = solution.gap;
  return allocation;
}

Allocation least_size(const std::vector<LayerChoices>& layers, double max_harm, size_t max_states) {
  Solution solution =
      Search(options_of(layers, /*size_is_cost=*/false), max_harm, max_states).solve();
  if (solution.chosen.size() != layers.size()) {
    fail_usage("no allocation has a harm of {:g} or less: the least is {:g}", max_harm,
               best_allocations(layers).back().harm);
  }
  Allocation allocation = allocation_of(layers, std::move(solution.chosen));
  allocation.gap = solution.gap;
  return allocation;
}

std::vector<Allocation> best_allocations(const std::vector<LayerChoices>& layers) {
  std::vector<Options> hulls;
  std::vector<size_t> chosen;
  for (const Options& options : options_of(layers, /*size_is_cost=*/true)) {
    hulls.push_back(lower_hull(options));
    chosen.push_back(hulls.back().front().index);
  }
  std::vector<Allocation> result{allocation_of(layers, chosen)};
  const Relaxation whole(hulls, 0);
  for (const Segment& segment : whole.segments()) {
    chosen[segment.layer] = segment.index;
    result.push_back(allocation_of(layers, chosen));
  }
  return result;
}

}  // namespace yoloquant::quant

#pragma once

#include <cstdint>
#include <span>
#include <vector>

// Rounding the weights of one output channel so that its output changes least. The error of codes q
// with scale s against the target w is d H d', d = s q - w, where H = E[x x'] of the inputs x.
namespace yoloquant::quant {

// A symmetric positive definite H [K, K] prepared for rounding with a fixed order of columns.
struct RoundingProblem {
  int64_t size = 0;            // K
  std::vector<int64_t> order;  // columns, largest diagonal first (act-order)
  std::vector<float> hessian;  // H, columns and rows in `order`
  std::vector<float> factor;   // upper U with U' U = H^-1, rows in `order`
};

struct RoundingOptions {
  int qmin = -8;
  int qmax = 7;
  int scale_candidates = 14;  // between .45 and 1.1 of the scale that holds the largest weight
  double moves = 4;           // of the search after the greedy pass, by column; 0: none
};

struct RoundedRow {
  std::vector<float> values;  // scale * code, in the caller's column order
  float scale = 1;
  double error = 0;  // d H d'
};

// GPTQ (Frantar et al. 2022) for each candidate scale, the best kept; then, alternately, the scale
// of least error for the codes, and a search for better codes (see CodeSearch). Never worse than
// the greedy pass.
RoundedRow round_row(const RoundingProblem& problem, std::span<const float> target,
                     const RoundingOptions& options);

}  // namespace yoloquant::quant

#pragma once

#include <cstdint>
#include <span>
#include <vector>

// Codes of one output channel, improved by local search. Their error is d H d', d = s q - w, as in
// row_rounding.h; what it would be after another move costs one pass over the row.
namespace yoloquant::quant {

struct RoundingProblem;

class CodeSearch {
 public:
  // `target` [K] in the order of `problem`, which outlives the search; codes between qmin and qmax.
  CodeSearch(const RoundingProblem& problem, std::span<const float> target, int qmin, int qmax);

  // GPTQ (Frantar et al. 2022): codes for this scale, each column's rounding error spread over the
  // columns not yet rounded. Returns their error, which is the sum of the squares of what is spread
  // (Chen et al. 2025, "The Geometry of LLM Quantization"). Not searched on from: set() them first.
  double round_greedily(float scale);

  // Put codes and a scale in place and return their error.
  double set(const std::vector<float>& codes, float scale);
  double set_scale(float scale);

  // Scale of least error for the present codes: (q H w) / (q H q).
  float best_scale() const;

  // Tabu search (Glover 1989): `moves` times the code whose step to a neighbour lowers the error
  // most, or raises it least, takes that step; a code that has moved then rests for a while, so
  // that the search leaves a local minimum instead of falling back. Ends with the best codes that
  // were met and returns their error.
  double search(int64_t moves);

  const std::vector<float>& codes() const { return codes_; }
  float scale() const { return scale_; }

 private:
  double evaluate();  // sets gradient_ and error_

  const RoundingProblem& problem_;
  std::span<const float> target_;
  float qmin_;
  float qmax_;
  float scale_ = 1;
  double error_ = 0;
  std::vector<float> codes_;
  std::vector<float> gradient_;    // H (s q - w)
  std::vector<float> diagonal_;    // of H
  std::vector<float> rest_until_;  // by column: it may move again when that many moves are done
};

}  // namespace yoloquant::quant

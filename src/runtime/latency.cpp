#include "runtime/latency.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numeric>

#include "base/error.h"
#include "runtime/diff.h"

namespace yoloquant::runtime {

namespace {

// A session with its inputs and the buffers its results go to.
class Timed {
 public:
  Timed(Session& session, const std::vector<Tensor>& inputs)
      : session_(session), inputs_(inputs.empty() ? random_inputs(session) : inputs) {
    outputs_ = session_.run(inputs_);
  }

  double run_ms() {
    using Clock = std::chrono::steady_clock;
    const auto start = Clock::now();
    session_.run_into(inputs_, outputs_);
    return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
  }

  int64_t batch() const {
    return inputs_.empty() || inputs_[0].rank() == 0 ? 1 : inputs_[0].dim(0);
  }

 private:
  Session& session_;
  std::vector<Tensor> inputs_;
  std::vector<Tensor> outputs_;
};

// Linear interpolation between order statistics. REQUIRES: sorted, not empty.
double quantile(const std::vector<double>& sorted, double q) {
  const double place = q * static_cast<double>(sorted.size() - 1);
  const auto low = static_cast<size_t>(place);
  const size_t high = std::min(low + 1, sorted.size() - 1);
  return sorted[low] + (place - static_cast<double>(low)) * (sorted[high] - sorted[low]);
}

Latency summarize(std::vector<double> runs, int64_t batch) {
  Latency latency;
  latency.runs_ms = runs;
  std::ranges::sort(runs);
  latency.mean_ms =
      std::accumulate(runs.begin(), runs.end(), 0.0) / static_cast<double>(runs.size());
  latency.median_ms = quantile(runs, 0.5);
  latency.p90_ms = quantile(runs, 0.9);
  latency.throughput_fps = 1000.0 * static_cast<double>(batch) / latency.mean_ms;
  return latency;
}

// The k-th smallest and largest ratios bound the median with 95 % for k of the binomial(n, 1/2).
LatencyRatio ratio_of(const std::vector<double>& times, const std::vector<double>& reference) {
  std::vector<double> ratios(times.size());
  for (size_t i = 0; i < times.size(); ++i) ratios[i] = times[i] / reference[i];
  std::ranges::sort(ratios);
  const auto count = static_cast<double>(ratios.size());
  const double below = std::floor((count - 1.96 * std::sqrt(count)) / 2);
  const auto rank = static_cast<size_t>(std::max(below, 0.0));
  return {quantile(ratios, 0.5), ratios[rank], ratios[ratios.size() - 1 - rank]};
}

}  // namespace

Latency measure_latency(Session& session, int warmup, int runs, const std::vector<Tensor>& inputs) {
  return compare_latency({&session}, warmup, runs, inputs).each.at(0);
}

LatencyComparison compare_latency(const std::vector<Session*>& sessions, int warmup, int runs,
                                  const std::vector<Tensor>& inputs) {
  if (runs < 1 || warmup < 0) fail_usage("latency needs at least 1 run, got {}", runs);
  std::vector<Timed> timed;
  for (Session* session : sessions) timed.emplace_back(*session, inputs);
  for (Timed& item : timed) {
    for (int i = 0; i < warmup; ++i) item.run_ms();
  }
  std::vector<std::vector<double>> times(timed.size());
  for (int round = 0; round < runs; ++round) {
    for (size_t i = 0; i < timed.size(); ++i) {
      const size_t index = (i + static_cast<size_t>(round)) % timed.size();
      times[index].push_back(timed[index].run_ms());
    }
  }
  LatencyComparison result;
  for (size_t i = 0; i < timed.size(); ++i) {
    result.each.push_back(summarize(times[i], timed[i].batch()));
    result.ratios.push_back(ratio_of(times[i], times[0]));
  }
  return result;
}

}  // namespace yoloquant::runtime

#pragma once

#include <vector>

#include "runtime/session.h"

namespace yoloquant::runtime {

struct Latency {
  double mean_ms = 0;
  double median_ms = 0;
  double p90_ms = 0;
  double throughput_fps = 0;  // images a second: batch / mean
  std::vector<double> runs_ms;
};

// Times `runs` runs after `warmup` untimed ones, copies excluded. `inputs` {}: random ones of the
// declared shapes. Throws Error when runs < 1 or warmup < 0.
Latency measure_latency(Session& session, int warmup, int runs,
                        const std::vector<Tensor>& inputs = {});

// Time of a session relative to the first one's in the same round.
struct LatencyRatio {
  double median = 1;
  double low = 1;  // 95 % interval of the median, from order statistics (no distribution assumed)
  double high = 1;
};

struct LatencyComparison {
  std::vector<Latency> each;         // one per session
  std::vector<LatencyRatio> ratios;  // one per session; the first is 1
};

// Runs the sessions in turn, so that a change of the machine's speed meets all of them alike. Each
// round starts with another session. `inputs` are for all sessions, or {} for random ones.
LatencyComparison compare_latency(const std::vector<Session*>& sessions, int warmup, int runs,
                                  const std::vector<Tensor>& inputs = {});

}  // namespace yoloquant::runtime

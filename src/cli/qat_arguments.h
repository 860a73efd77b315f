#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cli/options.h"
#include "pipeline/train.h"

namespace yoloquant::cli {

// What `train`, `qat` and `run` say about training with quantizers.
struct QatArguments {
  pipeline::QatSettings settings;
  std::vector<std::string> progressive;  // bits
  bool lsq_start = false;
  double step_rate = 0;  // 0: by what trains

  void declare(Options& options);
  // All but scheme, rules and start. Throws Error (usage).
  pipeline::QatSettings get() const;
};

// --watch-fall and the like.
void declare_watch(Options& options, train::WatchOptions* watch);

}  // namespace yoloquant::cli

#pragma once

#include <memory>
#include <span>
#include <string>

#include "base/rank_environment.h"

// Data-parallel training for those who do not see LibTorch.
namespace yoloquant::train {

class RankExchange;

// The processes of a training, and what its Trainer has them exchange. All ranks must make the same
// calls in the same order; when one is gone, the others get an Error that says so (see
// ProcessGroup).
class Ranks {
 public:
  // Meets the other ranks; a single process returns at once. `device` is the Trainer's, one GPU to
  // a rank. `sync_norms`: batch norms in training mode see the images of all ranks. Throws Error
  // when the others do not come.
  Ranks(const RankEnvironment& environment, const std::string& device, bool sync_norms);
  ~Ranks();

  // For one Trainer, nullptr for a single process.
  std::shared_ptr<RankExchange> exchange() const;

  // Replaces each value by its sum over all ranks.
  void sum(std::span<double> values);
  // Whether any rank says so.
  bool any(bool here);
  // Waits until all ranks are here.
  void barrier();

 private:
  class Exchange;
  std::shared_ptr<Exchange> exchange_;  // nullptr: a single process
};

}  // namespace yoloquant::train

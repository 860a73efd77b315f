#pragma once

#include <cstddef>
#include <vector>

#include "checkpoint/value.h"

namespace yoloquant::checkpoint {

// Owns every container of a pickle while it is built. Pickles may hold objects inside themselves
// and chains of any depth; left alone, the first would never be freed and the second would overflow
// the stack when freed. So containers are emptied one by one unless finish() finds them sound.
class PickleGraph {
 public:
  PickleGraph() = default;
  ~PickleGraph();
  PickleGraph(const PickleGraph&) = delete;
  PickleGraph& operator=(const PickleGraph&) = delete;

  // Remembers `container` and returns it.
  Value own(Value container);

  // Replaces references of objects under `root` to what contains them by back references and gives
  // up the ownership of what is reachable. Throws Error for chains longer than `max_depth`.
  void finish(Value& root, size_t max_depth);

 private:
  std::vector<Value> containers_;
};

}  // namespace yoloquant::checkpoint

#pragma once

#include <string>
#include <vector>

#include "checkpoint/value.h"

namespace yoloquant::checkpoint {

struct PickledTensors {
  std::string pickle;
  std::vector<Tensor> storages;  // contents of the records data/0, data/1, ...
};

// A pickle of protocol 2, which torch.load(weights_only=True) reads. Shared containers, strings and
// tensors stay shared. Throws Error with the path of the key ("optimizer.state[3]: ...") for inert
// objects, for classes other than torch's dtypes, and for nesting deeper than 1000.
PickledTensors write_pickle_with_tensors(const Value& value);

}  // namespace yoloquant::checkpoint

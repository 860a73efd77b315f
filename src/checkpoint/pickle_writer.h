#pragma once

#include <string>
#include <vector>

#include "checkpoint/value.h"

namespace yoloquant::checkpoint {

struct PickledTensors {
  std::string pickle;
  std::vector<Tensor> storages;  // contents of the records data/0, data/1, ...
};

// A pickle of protocol 2, which torch.load(weights_only=True) reads. A container or
// tensor that is there several times (the same Value) is written once and shared in Python too;
// equal tensors of different Values are not, even if they share memory here, since torch could then
// change one through the other. Throws Error with the path of the key ("optimizer.state[3]: ...")
// for inert objects, for classes other than torch's dtypes, and for nesting deeper than 1000.
PickledTensors write_pickle_with_tensors(const Value& value);

}  // namespace yoloquant::checkpoint

#pragma once

#include <string>
#include <vector>

#include "checkpoint/value.h"
#include "tensor/tensor.h"

namespace yoloquant::checkpoint {

struct StateDict {
  TensorMap tensors;
  std::vector<std::string> order;  // names as torch's state_dict() lists them
};

// Whether the value is the inert record of a torch.nn.Module.
bool is_module(const Value& value);
// What torch.nn.Module.state_dict() gives for it: parameters, persistent buffers, submodules.
// REQUIRES: is_module(value). Throws Error when the tree is malformed or contains itself.
StateDict state_dict_of_module(const Value& module);

// Whether the value is a dict of tensors under string keys, and not empty.
bool is_state_dict(const Value& value);
// REQUIRES: is_state_dict(value). The prefixes that wrappers add ("module." of DataParallel,
// "_orig_mod." of torch.compile) are dropped when all names have them.
StateDict state_dict_of_dict(const Value& dict);

}  // namespace yoloquant::checkpoint

#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "runtime/session.h"

namespace yoloquant::runtime {

// Extents that take the place of dynamic ones in random inputs.
struct DynamicSizes {
  int64_t batch = 1;
  int64_t channels = 3;
  int64_t extent = 64;  // pixels, height and width
};

// Uniform values in [0, 1) for every input of the session, of the declared shape. Throws Error when
// a shape is too large to be meant.
std::vector<Tensor> random_inputs(const Session& session, uint64_t seed = 0,
                                  const DynamicSizes& sizes = {});

struct DiffOptions {
  bool per_node = false;  // look at every value that both models make under the same name
  SessionOptions session = {};
};

// How far a value of model B is from the same value of model A.
struct Difference {
  std::string name;
  std::string op;  // the operator that makes it in model A; "" for outputs
  Shape shape;
  Shape other_shape;  // differs from `shape` when the values cannot be compared
  double max_abs = 0;
  double mean_abs = 0;
  double max_relative = 0;   // max_abs over the largest |a|
  double mean_relative = 0;  // mean_abs over the mean |a|
};

struct DiffReport {
  std::vector<Difference> outputs;  // by position, in model A's order
  std::vector<Difference> nodes;    // by name, worst max_relative first
  bool comparable() const;          // all outputs have equal shapes
  double max_abs() const;           // over the outputs
};

// Runs both models on the same inputs ({}: random ones). Throws Error when the models have another
// number of inputs or outputs. With per_node models are run in portions, so that memory does not
// grow with the number of nodes.
DiffReport diff(const std::filesystem::path& a, const std::filesystem::path& b,
                const std::vector<Tensor>& inputs = {}, const DiffOptions& options = {});

// Figures for two tensors of one shape.
Difference difference(const std::string& name, const Tensor& a, const Tensor& b);

}  // namespace yoloquant::runtime

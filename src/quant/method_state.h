#pragma once

#include <cstddef>
#include <filesystem>
#include <optional>
#include <string>

#include "base/run_file.h"
#include "graph/graph.h"
#include "tensor/tensor.h"

namespace yoloquant::quant {

// Work in progress of a chain of methods, kept in a file, so that an interrupted run goes on where
// it was. One file holds the latest state: the quantized parameters of the graph, which method of
// the chain is at work, and whatever that method wants to find again.
class MethodState {
 public:
  // Keeps nothing.
  MethodState() = default;
  // `fingerprint` tells runs apart: a file of another run is not gone on with.
  MethodState(std::filesystem::path path, std::string fingerprint);

  // Reads the file, puts its parameters and scales into `annotated` and returns the place in the
  // chain of the method that goes on; 0 without a file. Error when the file is damaged, or of other
  // settings.
  size_t resume(graph::Graph& annotated);

  // What the present method saved before the interruption, once.
  std::optional<TensorMap> take();

  // Methods save through this; `place` is set by the chain.
  void save(const graph::Graph& annotated, const TensorMap& own = {}) const;
  void set_place(size_t place) { place_ = place; }

  // Seconds between saves that keep their cost out of sight.
  static constexpr double kInterval = 20;

  bool enabled() const { return file_.enabled(); }
  void remove() const { file_.remove(); }

 private:
  RunFile file_;
  size_t place_ = 0;
  std::optional<TensorMap> pending_;
};

// For methods whose work in progress is a count of what is done. `state` may be null.
//
// The count that was saved before the interruption, 0 without one. Error when it is none of 0 to
// `most`.
int64_t take_count(MethodState* state, int64_t most);
void save_count(const MethodState* state, const graph::Graph& annotated, int64_t count);

}  // namespace yoloquant::quant

#include "checkpoint/pickle_graph.h"

#include <algorithm>
#include <unordered_map>

#include "base/error.h"

namespace yoloquant::checkpoint {

namespace {

void clear(Value& container) {
  if (container.is_sequence()) {
    container.mutable_items().clear();
  } else if (container.is_dict()) {
    container.mutable_entries().clear();
  } else if (container.is_object()) {
    container.mutable_object() = Object{};
  }
}

// One container on the path from the root: how far its children have been looked at.
struct Frame {
  Value container;
  size_t next_child = 0;
  size_t height = 0;  // of the highest child so far
};

constexpr size_t kOnPath = 0;
// Address -> height of the container (longest chain of containers below it), or kOnPath.
using Heights = std::unordered_map<const void*, size_t>;

}  // namespace

PickleGraph::~PickleGraph() {
  // Each is still held by `containers_`, so that no clearing frees more than one level.
  for (Value& container : containers_) clear(container);
}

Value PickleGraph::own(Value container) {
  containers_.push_back(container);
  return container;
}

void PickleGraph::finish(Value& root, size_t max_depth) {
  Heights heights;
  heights.reserve(containers_.size());
  std::vector<Frame> path;
  const auto enter = [&](const Value& container) {
    if (path.size() >= max_depth) fail("values are nested more than {} deep", max_depth);
    heights.emplace(container.identity(), kOnPath);
    path.push_back({container});
  };
  if (child_count(root) > 0) enter(root);
  while (!path.empty()) {
    Frame& frame = path.back();
    if (frame.next_child < child_count(frame.container)) {
      Value& next = child(frame.container, frame.next_child++);
      if (child_count(next) == 0) continue;
      const auto known = heights.find(next.identity());
      if (known == heights.end()) {
        enter(next);
      } else if (known->second == kOnPath) {
        next = Value(BackReference(next));
      } else {
        frame.height = std::max(frame.height, known->second);
      }
      continue;
    }
    const size_t height = frame.height + 1;
    if (height > max_depth) fail("values are nested more than {} deep", max_depth);
    heights[frame.container.identity()] = height;
    path.pop_back();
    if (!path.empty()) path.back().height = std::max(path.back().height, height);
  }
  // What is not reachable may own itself: it stays in `containers_` to be cleared.
  std::erase_if(containers_,
                [&](const Value& container) { return heights.contains(container.identity()); });
}

}  // namespace yoloquant::checkpoint

#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/random.h"
#include "graph/graph.h"

namespace at {
class Tensor;
}

// How far a changed model is from the float one, where it matters to its detections.
namespace yoloquant::quant {

// The values of a graph that are compared: for YOLO detection heads the logits before they are
// decoded (graph/detection_head.h).
struct WatchedValues {
  bool detection = false;
  // Of each head in turn boxes [N, bins, 4, A] and classes [N, C, A]; or the outputs.
  std::vector<graph::ValueId> values;
  // "boxes", "classes", of several heads "one2one.boxes" and so on; or the outputs' names.
  std::vector<std::string> names;
};
WatchedValues watched_values(const graph::Graph& graph);

// A scalar of the watched values (with gradients) with random signs, such that for a small change d
// of any value of the graph and the scalar's gradient g there, the expected (g . d)^2 is about
// twice the sum that OutputHarm divides: a sample of the Fisher information. Sure classes count
// more than by their curvature, which vanishes there.
at::Tensor harm_probe(const WatchedValues& watched, const std::vector<at::Tensor>& values,
                      Random& random);

// Sums over images, and over heads. For a detection head, with p and q the float and the changed
// model's class probabilities, at least .01, and w(a) = max_c p(a, c) of an anchor point, 0 below
// .011:
//   class_harm = sum_{a, c} KL(p(a, c) || q(a, c)), each class a yes or no;
//   box_harm   = sum_a w(a) * mean over the four sides of KL(p_side(a) || q_side(a));
//   weight     = sum_a w(a): the detections that the float model expects.
// harm() is in nats per expected detection. For small errors the divergences are quadratic in them,
// so that the harms of layers with unrelated errors add up. For other graphs it is the mean of
// the relative errors.
class OutputHarm {
 public:
  double harm() const;
  double box_harm() const;
  double class_harm() const;
  // sum |y - x|^2 / sum |x|^2 of each watched value.
  std::vector<double> relative_errors() const;

  void add(const OutputHarm& other);

 private:
  friend class HarmMeter;
  bool detection_ = false;
  double box_ = 0;
  double class_ = 0;
  double weight_ = 0;
  std::vector<double> error_;
  std::vector<double> power_;
};

// Compares with the float model's values on one image (or batch).
class HarmMeter {
 public:
  // `reference`: the watched values, in their order.
  HarmMeter(const WatchedValues& watched, const std::vector<at::Tensor>& reference);
  ~HarmMeter();
  HarmMeter(const HarmMeter&) = delete;
  HarmMeter& operator=(const HarmMeter&) = delete;

  OutputHarm compare(const std::vector<at::Tensor>& values) const;

 private:
  struct Reference;
  struct Head;
  std::vector<Reference> references_;
  std::vector<Head> heads_;
};

}  // namespace yoloquant::quant

#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "graph/graph.h"
#include "train/distillation_options.h"
#include "train/layer_statistics.h"
#include "train/qat_options.h"

// Quantization-aware training for those who do not see LibTorch.
namespace yoloquant::train {

class TrainingPart;

// Quantizers that are trained with a model: a part for its Trainer, and a look at them. Only to be
// used once a Trainer has the part, and while it lives.
class Qat {
 public:
  // `annotated`: see QuantizedTraining.
  Qat(graph::Graph annotated, const QatOptions& options);
  ~Qat();

  std::shared_ptr<TrainingPart> part() const;

  // Since the beginning of the epoch, in the order of the convs.
  std::vector<LayerStatistics> statistics() const;
  // Writes what the model holds now into an annotated inference graph: see QuantizedTraining.
  void store(graph::Graph& annotated) const;

 private:
  class Part;
  std::shared_ptr<Part> part_;
};

// Adds to the loss how far the model's logits are from those of a float model of the same
// definition, `teacher` (both heads, batch norms unfolded), on the same images.
std::shared_ptr<TrainingPart> distillation_part(const graph::Graph& teacher,
                                                const std::string& device,
                                                const DistillationOptions& options);

}  // namespace yoloquant::train

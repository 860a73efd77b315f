#pragma once

#include "quant/method.h"

namespace yoloquant::quant {

// Teacher-guided tuning: latent weights, step sizes and biases of the quantized convs are trained
// with straight-through gradients so that features and head outputs come close to the float model's
// on augmented views of unlabelled images (see teacher_loss.h). A part of the images is held out;
// the state with the least loss on them is kept, the start included, so that the result is never
// worse there than it was. Saves its state, and goes on from it, through MethodContext::state.
class Teacher : public Method {
 public:
  std::string_view name() const override { return "teacher"; }
  bool depends_on_inputs(int bits) const override;
  void apply(graph::Graph& annotated, const MethodContext& context) override;
};

struct TeacherOptions {
  int64_t steps = 250;
  double seconds = 1e9;       // when they are over it stops, with the schedule at its end
  double whole = 0.5;         // share of the steps that see a whole image, not one cut anew
  double latent_rate = 1e-2;  // Adam's, in steps of the grid
  double step_rate = 1e-4;    // of the logarithm of the step size
  double bias_rate = 1e-4;
  int64_t warmup = 30;              // steps
  double held_out = kHeldOutShare;  // part of the images
  int64_t checks = 4;               // of the held-out loss
  double average = 0.99;            // decay of the running mean of the parameters; 0: none
  bool bfloat16 = true;             // forward and backward, where that is faster; parameters and
                                    // losses stay float32
  std::string device = "cpu";
};
TeacherOptions teacher_options(Effort effort);

// Runs it with explicit options; for experiments and tests.
void run_teacher(graph::Graph& annotated, const MethodContext& context,
                 const TeacherOptions& options);

}  // namespace yoloquant::quant

#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/progress.h"
#include "graph/graph.h"
#include "quant/budget.h"
#include "quant/calibrate.h"
#include "quant/calibration_data.h"
#include "quant/config.h"
#include "quant/method_state.h"

// Methods that choose quantized weights. They compose: each improves what the one before left.
namespace yoloquant::quant {

// Inputs of so many bits or more are float while methods work, and quantized when all are done.
inline constexpr int kFineInputBits = 7;

// The part of calibration images, the last of them, that tells how well others do: `share` of them,
// 2 to 16; none of fewer than 8. Methods that prepare for others leave it alone by default.
inline constexpr double kHeldOutShare = 0.1;
int64_t held_out_count(int64_t images, double share = kHeldOutShare);

// What a method works with besides the graph that it improves.
struct MethodContext {
  const graph::Graph& reference;  // the float graph, same nodes: the target
  const QuantizationConfig& config;
  CalibrationData& images;
  const CalibrationOptions& calibration;
  Budget& budget;
  Progress& progress;
  MethodState* state = nullptr;  // where to save work in progress; may be null
};

class Method {
 public:
  virtual ~Method() = default;

  virtual std::string_view name() const = 0;

  // Whether the weights it leaves are made for the quantizers that it found at inputs of so many
  // bits.
  virtual bool depends_on_inputs(int /*bits*/) const { return false; }

  // Changes weights, biases and annotations of `annotated` (the inference graph). On return the
  // parameters hold weights whose nearest codes are the chosen ones. Input annotations come from
  // the float model and are chosen again when all methods are done, unless the last one depends on
  // them.
  virtual void apply(graph::Graph& annotated, const MethodContext& context) = 0;
};

using MethodList = std::vector<std::unique_ptr<Method>>;

// "gptq,teacher" -> the methods in order. Error (usage) for an empty list or an unknown name, with
// the closest known one.
MethodList parse_methods(std::string_view list);
std::vector<std::string> method_names();

// What the method "auto" stands for: nearest for weights of 7 bits or more; below, gptq, and
// teacher behind it where the effort is more than fast. Other lists are returned as they are.
std::string resolve_method(const QuantizationConfig& config, Effort effort);

// Adds a method to the registry, under a name that is new. Call before threads start.
void register_method(const std::string& name, std::function<std::unique_ptr<Method>()> make);

}  // namespace yoloquant::quant

#pragma once

#include <string>
#include <vector>

#include "cli/arguments.h"
#include "cli/command.h"
#include "pipeline/evaluate.h"

namespace yoloquant::cli {

// What `eval` and `run` both say about evaluation; bound to the pipeline's options.
struct EvaluationArguments {
  pipeline::EvalOptions options;
  std::vector<std::string> image_ids;  // ids, or one file with them

  // A data set with labels.
  Option& declare_data(Options& options);
  void declare_detection(Options& options);
  void declare_reference_score(Options& options);
  void declare_latency(Options& options);
  // Reads image_ids into the pipeline's options. Throws Error for what are no ids.
  void apply(pipeline::EvalOptions& target) const;
};

struct EvalArguments : ModelArguments {
  std::filesystem::path out;
  std::optional<graph::Head> head;
  EvaluationArguments evaluation;
  Device device;

  void declare(Options& options);
  // Whether fidelity is all there is to measure. Throws Error (usage) for data that do not go
  // together.
  bool without_labels() const;
};

int run_eval(const EvalArguments& arguments, Context& context);

}  // namespace yoloquant::cli

#include <fmt/format.h>

#include "report/summary.h"

namespace yoloquant::report {
namespace {

// A loss of mAP that no longer is rounding noise but a broken model.
constexpr double kCollapse = 0.05;
// Below this the baseline itself detects nothing, and there is nothing to lose.
constexpr double kMeaninglessMap = 0.01;

bool quantizes_activations(const Variant& variant) {
  const auto found = variant.op_counts.find("QuantizeLinear");
  return found != variant.op_counts.end() && found->second > 0;
}

bool has_four_bit_weights(const Variant& variant) { return variant.name.starts_with("w4"); }

std::string collapse_advice(const Variant& variant) {
  if (variant.method == "reference") {
    return "that is what the reference's choices cost; without --preset reference it holds better";
  }
  if (has_four_bit_weights(variant)) {
    return "rounding to nearest is too coarse for 4-bit weights; try --method gptq, which rounds "
           "towards the float model's outputs, or keep layers at 8 bits with layer rules";
  }
  if (quantizes_activations(variant)) {
    return "try more calibration images, another activation range (percentile, mse), or skip the "
           "layers with the lowest ratio in the quantization report";
  }
  return "look for layers with a low signal-to-noise ratio in the quantization report";
}

void add_accuracy(const Variant& variant, const Variant& baseline,
                  std::vector<std::string>& findings) {
  const double loss = baseline.map_50_95 - variant.map_50_95;
  if (loss <= kCollapse || baseline.map_50_95 < kMeaninglessMap) return;
  findings.push_back(fmt::format("{} loses {:.4f} mAP50-95 against {} ({}): {}.", variant.name,
                                 loss, baseline.name, variant.metrics, collapse_advice(variant)));
}

// Why a variant may take longer than the baseline.
std::string slow_reason(const Variant& variant) {
  if (quantizes_activations(variant)) {
    const bool on_inputs_only = variant.op_counts.contains("Clip");  // layout qcdq
    return on_inputs_only ? "convs with quantized inputs and float outputs do not run in integers; "
                            "the gain is size, for speed try --layout deploy"
                          : "the runtime does not fuse every quantized conv into integer "
                            "arithmetic here; on this hardware the gain is size, not speed";
  }
  if (variant.op_counts.contains("DequantizeLinear")) {
    return "weights are dequantized at run time and the arithmetic stays float; the gain is size, "
           "not speed";
  }
  return "this hardware converts half precision to float32 for most operators";
}

void add_latency(const Variant& variant, const Variant& baseline,
                 std::vector<std::string>& findings) {
  // Slower beyond doubt: the whole interval lies above 1.
  if (!variant.latency || variant.latency->ratio.low <= 1) return;
  findings.push_back(fmt::format("{} is slower than {} ({:.2f} times as long on {}): {}.",
                                 variant.name, baseline.name, variant.latency->ratio.estimate,
                                 variant.provider, slow_reason(variant)));
}

void add_size(const Variant& variant, const Variant& baseline, std::vector<std::string>& findings) {
  if (baseline.file_bytes == 0 || variant.file_bytes < baseline.file_bytes) return;
  findings.push_back(fmt::format("{} is no smaller than {} ({} against {} bytes).", variant.name,
                                 baseline.name, variant.file_bytes, baseline.file_bytes));
}

}  // namespace

std::vector<std::string> findings(const RunSummary& summary) {
  std::vector<std::string> findings;
  if (summary.variants.empty()) return findings;
  const Variant& baseline = summary.variants.front();
  if (baseline.map_50_95 >= 0 && baseline.map_50_95 < kMeaninglessMap) {
    findings.push_back(fmt::format(
        "{} has an mAP50-95 of {:.4f}: the model detects (almost) nothing in these images, so "
        "differences say nothing about quantization.",
        baseline.name, baseline.map_50_95));
  }
  for (size_t i = 1; i < summary.variants.size(); ++i) {
    add_accuracy(summary.variants[i], baseline, findings);
    add_latency(summary.variants[i], baseline, findings);
    add_size(summary.variants[i], baseline, findings);
  }
  return findings;
}

}  // namespace yoloquant::report

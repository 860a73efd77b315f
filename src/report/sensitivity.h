#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

// Which layers hurt, and what bits they get: results in, text and pictures out.
namespace yoloquant::report {

// One measurement: a conv or block with its weights or activations at some bits.
struct SensitivityRow {
  std::string name;  // conv or module path
  bool block = false;
  std::string part;  // "weights", "activations"
  int bits = 0;      // 0: float
  int64_t weights = 0;
  double harm = 0;  // see quant/output_harm.h
  double box_harm = 0;
  double class_harm = 0;
  // Of the quantized model's harm, what raising this layer to `bits` takes away. Only there.
  std::optional<double> gain;
  std::vector<double> errors;      // relative squared, see SensitivityReport::error_names
  std::optional<double> fidelity;  // mAP50-95 against the float model's confident detections
  std::optional<double> map;       // mAP50-95 against labels

  // What rows are ranked by.
  double impact() const { return gain.value_or(harm); }
};

struct SensitivityReport {
  std::string model;  // "yolov10n"
  std::string head;
  std::string image_size;  // "640 x 640"
  // "": one layer is quantized and all else float. Else what quantized everything ("w4a16 gptq"),
  // and one layer is raised.
  std::string base;
  std::string rounding = "nearest";  // of the weights of that one layer: or "gptq"
  int64_t images = 0;
  int64_t calibration_images = 0;
  int64_t labelled_images = 0;
  bool detection = true;  // false: harm is the mean of `errors`
  std::optional<double> base_harm;
  std::optional<double> float_map;
  std::vector<std::string> error_names;  // "boxes", "classes"
  std::vector<SensitivityRow> rows;      // convs in execution order, bits rising
  double seconds = 0;
};

// All bits of one layer and part, worst first: by impact at 4 bits, or at the fewest bits measured;
// where layers were raised, at the most.
struct SensitivityLine {
  std::string name;
  bool block = false;
  std::string part;
  int64_t weights = 0;
  std::map<int, const SensitivityRow*> by_bits;
  const SensitivityRow* ranked = nullptr;
};
std::vector<SensitivityLine> ranked_lines(const SensitivityReport& report);

nlohmann::ordered_json sensitivity_json(const SensitivityReport& report);
std::string sensitivity_csv(const SensitivityReport& report);
std::string sensitivity_markdown(const SensitivityReport& report);
// The convs in execution order, harm on a logarithmic scale, weights above activations.
std::string sensitivity_svg(const SensitivityReport& report);
// The worst `count` convs as rows of text, the first being the header.
std::vector<std::vector<std::string>> worst_table(const SensitivityReport& report, size_t count);

// A point of the trade-off between bits and harm.
struct BitPoint {
  double mean_bits = 0;
  double harm = 0;
  std::string label;  // "4 bits", "chosen"
};

struct BitAllocationReport {
  std::string title;
  std::vector<BitPoint> best;     // best allocations by rising bits
  std::vector<BitPoint> uniform;  // the same bits everywhere
  BitPoint chosen;
};
std::string bit_allocation_svg(const BitAllocationReport& report);

}  // namespace yoloquant::report

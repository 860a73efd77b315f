#include "runtime/diff.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "base/error.h"
#include "base/file.h"
#include "base/random.h"
#include "onnx/edit.h"

namespace yoloquant::runtime {

namespace {

constexpr int64_t kMaxInputElements = int64_t{1} << 30;
constexpr size_t kValuesAtOnce = 24;

Shape concrete_shape(const ValueInfo& info, const DynamicSizes& sizes) {
  Shape shape = info.shape;
  for (size_t i = 0; i < shape.size(); ++i) {
    if (shape[i] >= 0) continue;
    shape[i] = i == 0 ? sizes.batch : i == 1 && shape.size() == 4 ? sizes.channels : sizes.extent;
  }
  if (element_count(shape) > kMaxInputElements) {
    fail("input '{}' has shape {}", info.name, shape_string(shape));
  }
  return shape;
}

Tensor random_tensor(const ValueInfo& info, const DynamicSizes& sizes, Random& random) {
  Tensor values(DType::kFloat32, concrete_shape(info, sizes));
  for (float& value : values.mutable_data<float>()) value = random.uniform();
  if (is_floating_point(info.dtype)) return values.to(info.dtype);
  return {info.dtype, values.shape()};  // integers: zeros are in range for whatever they index
}

bool same_input_counts(const Session& a, const Session& b) {
  return a.inputs().size() == b.inputs().size() && a.outputs().size() == b.outputs().size();
}

// Values that both models make under one name, with the operator that makes them in A.
std::vector<onnx::NodeOutput> common_values(const std::string& a, const std::string& b) {
  std::map<std::string, bool> in_b;
  for (const auto& output : onnx::node_outputs(b)) in_b[output.value] = true;
  std::vector<onnx::NodeOutput> result = onnx::node_outputs(a);
  std::erase_if(result, [&](const auto& output) { return !in_b.contains(output.value); });
  return result;
}

std::vector<Tensor> inner_values(const std::string& model, const std::vector<std::string>& names,
                                 const std::vector<Tensor>& inputs, const DiffOptions& options,
                                 const std::string& label) {
  return Session::from_bytes(onnx::with_outputs(model, names), options.session, label).run(inputs);
}

std::vector<Difference> node_differences(const std::filesystem::path& a,
                                         const std::filesystem::path& b,
                                         const std::vector<Tensor>& inputs,
                                         const DiffOptions& options) {
  const std::string bytes_a = read_file(a);
  const std::string bytes_b = read_file(b);
  const auto values = common_values(bytes_a, bytes_b);
  std::vector<Difference> result;
  for (size_t begin = 0; begin < values.size(); begin += kValuesAtOnce) {
    const size_t end = std::min(begin + kValuesAtOnce, values.size());
    std::vector<std::string> names;
    for (size_t i = begin; i < end; ++i) names.push_back(values[i].value);
    const auto in_a = inner_values(bytes_a, names, inputs, options, a.string());
    const auto in_b = inner_values(bytes_b, names, inputs, options, b.string());
    for (size_t i = 0; i < names.size(); ++i) {
      result.push_back(difference(names[i], in_a[i], in_b[i]));
      result.back().op = values[begin + i].op;
    }
  }
  std::ranges::stable_sort(result, std::greater<>(), &Difference::max_relative);
  return result;
}

}  // namespace

std::vector<Tensor> random_inputs(const Session& session, uint64_t seed,
                                  const DynamicSizes& sizes) {
  Random random(seed);
  std::vector<Tensor> inputs;
  for (const ValueInfo& info : session.inputs()) {
    inputs.push_back(random_tensor(info, sizes, random));
  }
  return inputs;
}

Difference difference(const std::string& name, const Tensor& a, const Tensor& b) {
  Difference result;
  result.name = name;
  result.shape = a.shape();
  result.other_shape = b.shape();
  if (a.shape() != b.shape()) {
    result.max_abs = result.max_relative = std::numeric_limits<double>::infinity();
    return result;
  }
  const Tensor wide_a = a.to_float32();
  const Tensor wide_b = b.to_float32();
  const auto left = wide_a.data<float>();
  const auto right = wide_b.data<float>();
  double sum = 0;
  double magnitude = 0;
  double largest = 0;
  for (size_t i = 0; i < left.size(); ++i) {
    const double x = left[i];
    const double y = right[i];
    // Equal infinities differ by nothing; NaN on one side only is as bad as it gets.
    const bool same = x == y || (std::isnan(x) && std::isnan(y));
    double distance = same ? 0 : std::abs(x - y);
    if (std::isnan(distance)) distance = std::numeric_limits<double>::infinity();
    result.max_abs = std::max(result.max_abs, distance);
    sum += distance;
    if (std::isfinite(x)) {
      magnitude += std::abs(x);
      largest = std::max(largest, std::abs(x));
    }
  }
  const auto ratio = [](double part, double whole) {
    return whole > 0 ? part / whole : part > 0 ? std::numeric_limits<double>::infinity() : 0.0;
  };
  if (!left.empty()) result.mean_abs = sum / static_cast<double>(left.size());
  result.max_relative = ratio(result.max_abs, largest);
  result.mean_relative = ratio(sum, magnitude);
  return result;
}

bool DiffReport::comparable() const {
  return std::ranges::all_of(outputs,
                             [](const auto& output) { return output.shape == output.other_shape; });
}

double DiffReport::max_abs() const {
  double result = 0;
  for (const Difference& output : outputs) result = std::max(result, output.max_abs);
  return result;
}

DiffReport diff(const std::filesystem::path& a, const std::filesystem::path& b,
                const std::vector<Tensor>& given_inputs, const DiffOptions& options) {
  DiffReport report;
  std::vector<Tensor> inputs = given_inputs;
  {
    Session session_a(a, options.session);
    Session session_b(b, options.session);
    if (!same_input_counts(session_a, session_b)) {
      fail("{} has {} inputs and {} outputs, {} has {} and {}", a.string(),
           session_a.inputs().size(), session_a.outputs().size(), b.string(),
           session_b.inputs().size(), session_b.outputs().size());
    }
    if (inputs.empty()) inputs = random_inputs(session_a);
    const auto outputs_a = session_a.run(inputs);
    const auto outputs_b = session_b.run(inputs);
    for (size_t i = 0; i < outputs_a.size(); ++i) {
      report.outputs.push_back(difference(session_a.outputs()[i].name, outputs_a[i], outputs_b[i]));
    }
  }
  if (options.per_node) report.nodes = node_differences(a, b, inputs, options);
  return report;
}

}  // namespace yoloquant::runtime

#include "quant/teacher_loss.h"

#include <ATen/core/Reduction.h>
#include <ATen/ops/amax.h>
#include <ATen/ops/binary_cross_entropy_with_logits.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/mean.h>
#include <ATen/ops/mul.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/square.h>
#include <ATen/ops/sub.h>
#include <ATen/ops/sum.h>
#include <ATen/ops/var.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <map>
#include <string>

namespace yoloquant::quant {

namespace {

constexpr double kReferencePixels = 320.0 * 320.0;
constexpr double kLevels = 3;  // of a detection head
// Shares beside the divergences of classes and boxes. Features and logits say most about images
// that were tuned on; what is asked for is the detections of others.
constexpr double kFeatures = 0.25;
constexpr double kLogits = 0.075 * kLevels;

// "model.4.m.0.cv1.conv" -> 4; -1 for other names.
int64_t module_index(const std::string& name) {
  const std::string prefix = "model.";
  if (!name.starts_with(prefix)) return -1;
  const size_t end = name.find('.', prefix.size());
  const std::string digits = name.substr(prefix.size(), end - prefix.size());
  if (digits.empty() || digits.size() > 6 ||
      digits.find_first_not_of("0123456789") != std::string::npos) {
    return -1;
  }
  return std::stoll(digits);
}

at::Tensor relative_error(const at::Tensor& student, const at::Tensor& teacher) {
  return at::square(student.sub(teacher)).mean().div(at::square(teacher).mean().add(1e-12));
}

at::Tensor class_loss(const at::Tensor& student, const at::Tensor& teacher) {
  const at::Tensor target = at::sigmoid(teacher);
  const auto entropy = [&](const at::Tensor& logits) {
    return at::binary_cross_entropy_with_logits(logits, target, {}, {}, at::Reduction::Sum);
  };
  return entropy(student).sub(entropy(teacher));
}

// Logits [N, bins, 4, A] and class logits [N, C, A].
at::Tensor box_loss(const at::Tensor& student, const at::Tensor& teacher,
                    const at::Tensor& class_logits) {
  const at::Tensor s = at::log_softmax(student, 1);
  const at::Tensor t = at::log_softmax(teacher, 1);
  const at::Tensor divergence = at::mul(at::exp(t), t.sub(s)).sum(1).mean(1);  // [N, A]
  const at::Tensor confidence = at::sigmoid(at::amax(class_logits, {1})).add(0.01);
  return divergence.mul(confidence).sum();
}

at::Tensor over_variance(const at::Tensor& student, const at::Tensor& teacher) {
  return at::square(student.sub(teacher)).mean().div(at::var(teacher).add(1e-12));
}

// The last node of each top-level module with more than one conv, in order.
std::vector<const graph::Node*> module_ends(const graph::Graph& graph, int64_t before) {
  std::map<int64_t, std::pair<int, const graph::Node*>> modules;
  for (const graph::Node& node : graph.nodes) {
    const int64_t index = module_index(node.name);
    if (index < 0 || index >= before) continue;
    auto& [convs, last] = modules[index];
    convs += std::holds_alternative<graph::Conv>(node.op) ? 1 : 0;
    last = &node;
  }
  std::vector<const graph::Node*> ends;
  for (const auto& [index, module] : modules) {
    if (module.first >= 2) ends.push_back(module.second);
  }
  return ends;
}

}  // namespace

std::vector<graph::ValueId> TeacherTaps::values() const {
  std::vector<graph::ValueId> all = features;
  all.insert(all.end(), head.values.begin(), head.values.end());
  return all;
}

TeacherTaps find_taps(const graph::Graph& graph) {
  TeacherTaps taps;
  taps.head = watched_values(graph);
  // The head is the last module.
  int64_t head = -1;
  for (const graph::Node& node : graph.nodes) head = std::max(head, module_index(node.name));
  for (const graph::Node* node : module_ends(graph, head)) {
    taps.weights.push_back(taps.features.empty() ? 0.5 : 1.0);
    taps.features.push_back(node->outputs[0]);
  }
  return taps;
}

TeacherLoss teacher_loss(const TeacherTaps& taps, const std::vector<at::Tensor>& student,
                         const std::vector<at::Tensor>& teacher, int64_t image_pixels) {
  std::vector<at::Tensor> s;
  std::vector<at::Tensor> t;
  for (size_t i = 0; i < student.size(); ++i) {
    s.push_back(student[i].to(c10::ScalarType::Float));
    t.push_back(teacher[i].to(c10::ScalarType::Float));
  }
  const size_t count = taps.features.size();
  at::Tensor features = at::zeros({}, s.at(0).options());
  for (size_t i = 0; i < count; ++i) {
    features = features.add(relative_error(s[i], t[i]).mul(kFeatures * taps.weights[i]));
  }
  at::Tensor head = at::zeros({}, s[0].options());
  if (taps.head.detection) {
    const double images = static_cast<double>(s[count].size(0)) *
                          static_cast<double>(image_pixels) / kReferencePixels;
    for (size_t i = count; i < s.size(); i += 2) {
      head = head.add(class_loss(s[i + 1], t[i + 1]).div(4 * images));
      head = head.add(box_loss(s[i], t[i], t[i + 1]).div(2 * images));
      head = head.add(over_variance(s[i], t[i]).mul(kLogits));
      head = head.add(over_variance(s[i + 1], t[i + 1]).mul(kLogits));
    }
    head = head.div(static_cast<double>(s.size() - count) / 2);
  } else {
    for (size_t i = count; i < s.size(); ++i) head = head.add(relative_error(s[i], t[i]));
  }
  TeacherLoss loss;
  loss.total = features.add(head);
  loss.features = features.item<double>();
  loss.head = head.item<double>();
  return loss;
}

}  // namespace yoloquant::quant

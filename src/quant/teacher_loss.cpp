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

#include <map>

#include "base/error.h"

namespace yoloquant::quant {

namespace {

constexpr double kReferencePixels = 320.0 * 320.0;
constexpr int64_t kBins = 16;

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
  return at::square(student.sub(teacher)).mean().div(at::square(teacher).mean());
}

at::Tensor class_loss(const at::Tensor& student, const at::Tensor& teacher) {
  const at::Tensor target = at::sigmoid(teacher);
  const auto entropy = [&](const at::Tensor& logits) {
    return at::binary_cross_entropy_with_logits(logits, target, {}, {}, at::Reduction::Sum);
  };
  return entropy(student).sub(entropy(teacher));
}

at::Tensor box_loss(const at::Tensor& student, const at::Tensor& teacher,
                    const at::Tensor& class_logits) {
  const auto distribution = [](const at::Tensor& logits) {
    return at::log_softmax(logits.view({logits.size(0), -1, kBins, logits.size(2)}), 2);
  };
  const at::Tensor s = distribution(student);
  const at::Tensor t = distribution(teacher);
  const at::Tensor divergence = at::mul(at::exp(t), t.sub(s)).sum(2).mean(1);  // [N, A]
  const at::Tensor confidence = at::sigmoid(at::amax(class_logits, {1})).add(0.01);
  return divergence.mul(confidence).sum();
}

}  // namespace

std::vector<std::string> TeacherTaps::nodes() const {
  std::vector<std::string> all = features;
  all.push_back(boxes);
  all.push_back(classes);
  return all;
}

TeacherTaps find_taps(const graph::Graph& graph) {
  TeacherTaps taps;
  std::map<int64_t, std::pair<int, std::string>> modules;  // index -> convs, last node
  int64_t head = -1;
  for (const graph::Node& node : graph.nodes) {
    const int64_t index = module_index(node.name);
    if (node.name.ends_with("boxes") && std::holds_alternative<graph::Concat>(node.op)) {
      taps.boxes = node.name;
      head = index;
    } else if (node.name.ends_with("classes") && std::holds_alternative<graph::Concat>(node.op)) {
      taps.classes = node.name;
    }
    if (index < 0) continue;
    auto& [convs, last] = modules[index];
    convs += std::holds_alternative<graph::Conv>(node.op) ? 1 : 0;
    last = node.name;
  }
  if (taps.boxes.empty() || taps.classes.empty()) {
    fail("the model has no YOLOv10 head, which tuning against a teacher needs");
  }
  for (const auto& [index, module] : modules) {
    if (index == head || module.first < 2) continue;
    taps.weights.push_back(taps.features.empty() ? 0.5 : 1.0);
    taps.features.push_back(module.second);
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
  const double images = static_cast<double>(s.at(count).size(0)) *
                        static_cast<double>(image_pixels) / kReferencePixels;
  at::Tensor features = relative_error(s[0], t[0]).mul(taps.weights[0]);
  for (size_t i = 1; i < count; ++i) {
    features = features.add(relative_error(s[i], t[i]).mul(taps.weights[i]));
  }
  const at::Tensor& box_s = s[count];
  const at::Tensor& box_t = t[count];
  const at::Tensor& class_s = s[count + 1];
  const at::Tensor& class_t = t[count + 1];
  const at::Tensor classes = class_loss(class_s, class_t).div(4 * images);
  const at::Tensor boxes = box_loss(box_s, box_t, class_t).div(2 * images);
  const auto over_variance = [](const at::Tensor& a, const at::Tensor& b) {
    return at::square(a.sub(b)).mean().div(at::var(b).add(1e-12));
  };
  const at::Tensor logits =
      over_variance(class_s, class_t).add(over_variance(box_s, box_t)).mul(3.0);
  TeacherLoss loss;
  loss.total = features.add(classes).add(boxes).add(logits);
  loss.features = features.item<double>();
  loss.classes = classes.item<double>();
  loss.boxes = boxes.item<double>();
  loss.logits = logits.item<double>();
  return loss;
}

}  // namespace yoloquant::quant

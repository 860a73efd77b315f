#include "onnx/evaluate.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <numeric>

#include "onnx/model_file.h"
#include "onnx/tensor_proto.h"

namespace yoloquant::onnx {

namespace {

using Result = std::optional<Tensor>;

// The operands of one evaluation. Accessors throw Error on what does not fit; `evaluate` turns that
// into "cannot be computed".
struct Operands {
  const pb::NodeProto& node;
  const std::vector<const Tensor*>& inputs;
  int64_t max_elements;

  bool has(size_t i) const { return i < inputs.size() && inputs[i] != nullptr; }
  const Tensor& at(size_t i) const {
    if (!has(i)) fail("input {} is missing", i);
    return *inputs[i];
  }
  int64_t attribute(std::string_view name, int64_t otherwise) const {
    const pb::AttributeProto* found = find_attribute(node, name);
    return found == nullptr ? otherwise : found->i();
  }
  std::vector<int64_t> ints(size_t i) const {
    const Tensor& tensor = at(i);
    if (tensor.dtype() == DType::kInt32) {
      const auto values = tensor.data<int32_t>();
      return {values.begin(), values.end()};
    }
    const auto values = tensor.data<int64_t>();
    return {values.begin(), values.end()};
  }
  // Axes from the second input (opset 13) or the attribute.
  std::vector<int64_t> axes() const {
    if (has(1)) return ints(1);
    const pb::AttributeProto* found = find_attribute(node, "axes");
    if (found == nullptr) return {};
    return {found->ints().begin(), found->ints().end()};
  }
  Shape limited(Shape shape) const {
    if (element_count(shape) > max_elements) fail("result {} is too large", shape_string(shape));
    return shape;
  }
};

size_t axis_index(int64_t axis, size_t rank) {
  const auto extent = static_cast<int64_t>(rank);
  if (axis < -extent || axis >= extent) fail("no axis {}", axis);
  return static_cast<size_t>(axis < 0 ? axis + extent : axis);
}

int64_t product(const Shape& shape, size_t begin, size_t end) {
  return element_count(Shape(shape.begin() + static_cast<std::ptrdiff_t>(begin),
                             shape.begin() + static_cast<std::ptrdiff_t>(end)));
}

// Copies element `from` of `source` to element `to` of `target`.
class ElementCopier {
 public:
  ElementCopier(const Tensor& source, Tensor& target)
      : source_(source.bytes()),
        target_(target.mutable_bytes()),
        size_(element_size(source.dtype())) {}
  void copy(int64_t from, int64_t to, int64_t count = 1) const {
    if (count == 0) return;
    const auto bytes = static_cast<size_t>(count) * size_;
    std::memcpy(target_.subspan(static_cast<size_t>(to) * size_, bytes).data(),
                source_.subspan(static_cast<size_t>(from) * size_, bytes).data(), bytes);
  }

 private:
  std::span<const std::byte> source_;
  std::span<std::byte> target_;
  size_t size_;
};

Result gather(const Operands& in) {
  const Tensor& data = in.at(0);
  const size_t axis = axis_index(in.attribute("axis", 0), data.rank());
  const std::vector<int64_t> indices = in.ints(1);
  const Shape& index_shape = in.at(1).shape();
  Shape shape(data.shape().begin(), data.shape().begin() + static_cast<std::ptrdiff_t>(axis));
  shape.insert(shape.end(), index_shape.begin(), index_shape.end());
  shape.insert(shape.end(), data.shape().begin() + static_cast<std::ptrdiff_t>(axis) + 1,
               data.shape().end());
  Tensor result(data.dtype(), in.limited(shape));
  const ElementCopier copier(data, result);
  const int64_t inner = product(data.shape(), axis + 1, data.rank());
  const int64_t outer = product(data.shape(), 0, axis);
  const int64_t extent = data.dim(axis);
  int64_t to = 0;
  for (int64_t o = 0; o < outer; ++o) {
    for (int64_t index : indices) {
      if (index < -extent || index >= extent) fail("index {} of {}", index, extent);
      if (index < 0) index += extent;
      copier.copy((o * extent + index) * inner, to, inner);
      to += inner;
    }
  }
  return result;
}

Result concat(const Operands& in) {
  Shape shape = in.at(0).shape();
  const size_t axis = axis_index(in.attribute("axis", 0), shape.size());
  shape[axis] = 0;
  for (size_t i = 0; i < in.inputs.size(); ++i) {
    const Tensor& part = in.at(i);
    Shape expected = part.shape();
    if (part.dtype() != in.at(0).dtype() || part.rank() != shape.size()) fail("parts differ");
    if (__builtin_add_overflow(shape[axis], expected[axis], &shape[axis])) fail("too large");
    expected[axis] = shape[axis];
    if (expected != shape) fail("parts differ");
  }
  Tensor result(in.at(0).dtype(), in.limited(shape));
  const int64_t outer = product(shape, 0, axis);
  const int64_t row = product(shape, axis, shape.size());
  int64_t offset = 0;
  for (size_t i = 0; i < in.inputs.size(); ++i) {
    const ElementCopier copier(in.at(i), result);
    const int64_t length = product(in.at(i).shape(), axis, shape.size());
    for (int64_t o = 0; o < outer; ++o) copier.copy(o * length, o * row + offset, length);
    offset += length;
  }
  return result;
}

// One axis at a time, positive steps only.
Result slice(const Operands& in) {
  Tensor result = in.at(0);
  const std::vector<int64_t> starts = in.ints(1);
  const std::vector<int64_t> ends = in.ints(2);
  std::vector<int64_t> axes(starts.size());
  std::iota(axes.begin(), axes.end(), 0);
  if (in.has(3)) axes = in.ints(3);
  std::vector<int64_t> steps(starts.size(), 1);
  if (in.has(4)) steps = in.ints(4);
  if (ends.size() != starts.size() || axes.size() != starts.size() ||
      steps.size() != starts.size()) {
    fail("operands differ in size");
  }
  for (size_t i = 0; i < starts.size(); ++i) {
    const size_t axis = axis_index(axes[i], result.rank());
    const int64_t extent = result.dim(axis);
    const auto clamped = [&](int64_t place) {
      return std::clamp<int64_t>(place < 0 ? place + extent : place, 0, extent);
    };
    if (steps[i] < 1) fail("step {}", steps[i]);
    const int64_t begin = clamped(starts[i]);
    const int64_t span = std::max<int64_t>(clamped(ends[i]) - begin, 0);
    const int64_t count = span / steps[i] + (span % steps[i] != 0 ? 1 : 0);
    Shape shape = result.shape();
    shape[axis] = count;
    Tensor part(result.dtype(), in.limited(shape));
    const ElementCopier copier(result, part);
    const int64_t inner = product(shape, axis + 1, shape.size());
    const int64_t outer = product(shape, 0, axis);
    for (int64_t o = 0; o < outer; ++o) {
      for (int64_t k = 0; k < count; ++k) {
        copier.copy((o * extent + begin + k * steps[i]) * inner, (o * count + k) * inner, inner);
      }
    }
    result = part;
  }
  return result;
}

Result unsqueeze(const Operands& in) {
  const std::vector<int64_t> axes = in.axes();
  const size_t rank = in.at(0).rank() + axes.size();
  std::vector<bool> added(rank, false);
  for (const int64_t axis : axes) added[axis_index(axis, rank)] = true;
  if (static_cast<size_t>(std::ranges::count(added, true)) != axes.size()) fail("axes repeat");
  Shape shape;
  size_t next = 0;
  for (size_t i = 0; i < rank; ++i) shape.push_back(added[i] ? 1 : in.at(0).dim(next++));
  return in.at(0).reshaped(shape);
}

Result squeeze(const Operands& in) {
  const Shape& source = in.at(0).shape();
  std::vector<bool> removed(source.size(), false);
  const std::vector<int64_t> axes = in.axes();
  for (const int64_t axis : axes) removed[axis_index(axis, source.size())] = true;
  Shape shape;
  for (size_t i = 0; i < source.size(); ++i) {
    const bool drop = axes.empty() ? source[i] == 1 : static_cast<bool>(removed[i]);
    if (!drop) shape.push_back(source[i]);
  }
  return in.at(0).reshaped(shape);
}

Result reshape(const Operands& in) {
  Shape shape = in.ints(1);
  if (in.attribute("allowzero", 0) != 0) fail("allowzero");
  int64_t known = 1;
  size_t inferred = shape.size();
  for (size_t i = 0; i < shape.size(); ++i) {
    if (shape[i] == 0) shape[i] = in.at(0).dim(i);
    if (shape[i] == -1) {
      inferred = i;
    } else if (shape[i] < 0 || __builtin_mul_overflow(known, shape[i], &known)) {
      fail("shape {}", shape_string(shape));
    }
  }
  if (inferred < shape.size() && known > 0) shape[inferred] = in.at(0).size() / known;
  return in.at(0).reshaped(shape);
}

Shape broadcast(const Shape& a, const Shape& b) {
  Shape shape(std::max(a.size(), b.size()), 1);
  for (const Shape* operand : {&a, &b}) {
    const size_t offset = shape.size() - operand->size();
    for (size_t i = 0; i < operand->size(); ++i) {
      int64_t& extent = shape[offset + i];
      const int64_t own = (*operand)[i];
      if (own != extent && own != 1 && extent != 1) fail("shapes do not broadcast");
      if (own != 1) extent = own;
    }
  }
  return shape;
}

// The element of an operand that a broadcast result's element `index` takes.
int64_t source_index(int64_t index, const Shape& result, const Shape& operand) {
  int64_t source = 0;
  int64_t stride = 1;
  const size_t offset = result.size() - operand.size();
  for (size_t i = result.size(); i-- > 0;) {
    const int64_t place = index % result[i];
    index /= result[i];
    if (i < offset) continue;
    if (operand[i - offset] != 1) source += place * stride;
    stride *= operand[i - offset];
  }
  return source;
}

Result expand(const Operands& in) {
  const Tensor& data = in.at(0);
  const Shape shape = in.limited(broadcast(data.shape(), in.ints(1)));
  Tensor result(data.dtype(), shape);
  const ElementCopier copier(data, result);
  for (int64_t i = 0; i < result.size(); ++i) copier.copy(source_index(i, shape, data.shape()), i);
  return result;
}

int64_t integer_result(const std::string& op, int64_t a, int64_t b) {
  int64_t value = 0;
  bool bad = false;
  if (op == "Add") {
    bad = __builtin_add_overflow(a, b, &value);
  } else if (op == "Sub") {
    bad = __builtin_sub_overflow(a, b, &value);
  } else if (op == "Mul") {
    bad = __builtin_mul_overflow(a, b, &value);
  } else {
    // Rounds towards zero as ONNX Runtime does; signs that matter are left to it.
    bad = b <= 0 || a < 0;
    if (!bad) value = a / b;
  }
  if (bad) fail("{} of {} and {}", op, a, b);
  return value;
}

float float_result(const std::string& op, float a, float b) {
  if (op == "Add") return a + b;
  if (op == "Sub") return a - b;
  if (op == "Mul") return a * b;
  return a / b;
}

Result arithmetic(const Operands& in) {
  const Tensor& a = in.at(0);
  const Tensor& b = in.at(1);
  if (a.dtype() != b.dtype()) fail("types differ");
  const Shape shape = in.limited(broadcast(a.shape(), b.shape()));
  Tensor result(a.dtype(), shape);
  const auto apply = [&](auto left, auto right, auto out, auto function) {
    for (int64_t i = 0; i < result.size(); ++i) {
      out[static_cast<size_t>(i)] =
          function(in.node.op_type(), left[static_cast<size_t>(source_index(i, shape, a.shape()))],
                   right[static_cast<size_t>(source_index(i, shape, b.shape()))]);
    }
  };
  if (a.dtype() == DType::kInt64) {
    apply(a.data<int64_t>(), b.data<int64_t>(), result.mutable_data<int64_t>(), integer_result);
  } else {
    apply(a.data<float>(), b.data<float>(), result.mutable_data<float>(), float_result);
  }
  return result;
}

Result cast(const Operands& in) {
  const Tensor& source = in.at(0);
  const auto wanted = tensor_type(static_cast<int>(in.attribute("to", 0)));
  if (!wanted) fail("unknown type");
  if (*wanted == source.dtype()) return source;
  if (is_floating_point(*wanted)) {
    // Through float32, which holds sizes and indices exactly up to 2^24.
    if (source.dtype() == DType::kInt64) {
      for (const int64_t value : source.data<int64_t>()) {
        if (value > (1 << 24) || value < -(1 << 24)) fail("{} is not exact", value);
      }
    }
    return source.to(*wanted);
  }
  if (*wanted != DType::kInt64) fail("cast to {}", dtype_name(*wanted));
  Tensor result(DType::kInt64, source.shape());
  const Tensor wide = source.to_float32();
  const auto values = wide.data<float>();
  const auto out = result.mutable_data<int64_t>();
  for (size_t i = 0; i < values.size(); ++i) {
    if (!(std::abs(values[i]) <= 1 << 24)) fail("{} is not exact", values[i]);
    out[i] = static_cast<int64_t>(values[i]);
  }
  return result;
}

template <typename T>
Result range_of(const Operands& in, DType dtype) {
  const T start = in.at(0).data<T>()[0];
  const T limit = in.at(1).data<T>()[0];
  const T delta = in.at(2).data<T>()[0];
  const double count = std::ceil((static_cast<double>(limit) - static_cast<double>(start)) /
                                 static_cast<double>(delta));
  if (!(count <= static_cast<double>(in.max_elements))) fail("range of {} elements", count);
  Tensor result(dtype, {static_cast<int64_t>(std::max(count, 0.0))});
  const auto out = result.template mutable_data<T>();
  for (size_t i = 0; i < out.size(); ++i)
    out[i] = static_cast<T>(start + static_cast<T>(i) * delta);
  return result;
}

Result range(const Operands& in) {
  for (size_t i = 0; i < 3; ++i) {
    if (in.at(i).size() != 1) fail("operands are no scalars");
  }
  if (in.at(0).dtype() == DType::kFloat32) return range_of<float>(in, DType::kFloat32);
  for (size_t i = 0; i < 3; ++i) {
    const int64_t value = in.at(i).data<int64_t>()[0];
    if (value > in.max_elements || value < -in.max_elements) fail("range operand {}", value);
  }
  return range_of<int64_t>(in, DType::kInt64);
}

Result constant_of_shape(const Operands& in) {
  Tensor value = Tensor::scalar(0);
  const pb::AttributeProto* attribute = find_attribute(in.node, "value");
  if (attribute != nullptr) value = from_proto(attribute->t());
  if (value.size() != 1) fail("value is no scalar");
  Tensor result(value.dtype(), in.limited(in.ints(0)));
  const ElementCopier copier(value, result);
  for (int64_t i = 0; i < result.size(); ++i) copier.copy(0, i);
  return result;
}

Result identity(const Operands& in) { return in.at(0); }

using Rule = Result (*)(const Operands&);

const std::map<std::string, Rule, std::less<>>& rules() {
  static const std::map<std::string, Rule, std::less<>> table = {
      {"Add", arithmetic},      {"Cast", cast},
      {"Concat", concat},       {"ConstantOfShape", constant_of_shape},
      {"Div", arithmetic},      {"Expand", expand},
      {"Gather", gather},       {"Identity", identity},
      {"Mul", arithmetic},      {"Range", range},
      {"Reshape", reshape},     {"Slice", slice},
      {"Squeeze", squeeze},     {"Sub", arithmetic},
      {"Unsqueeze", unsqueeze},
  };
  return table;
}

}  // namespace

bool can_evaluate(const pb::NodeProto& node) {
  return node.domain().empty() && node.output_size() == 1 && rules().contains(node.op_type());
}

std::optional<Tensor> evaluate(const pb::NodeProto& node, const std::vector<const Tensor*>& inputs,
                               int64_t max_elements) {
  const auto rule = rules().find(node.op_type());
  if (rule == rules().end()) return std::nullopt;
  try {
    Result result = rule->second(Operands{node, inputs, max_elements});
    if (result && result->size() > max_elements) return std::nullopt;
    return result;
  } catch (const std::exception&) {  // Error, or out_of_range from dim()
    return std::nullopt;
  }
}

Tensor shape_value(const pb::NodeProto& node, const Shape& shape) {
  const auto rank = static_cast<int64_t>(shape.size());
  const auto bound = [&](const char* name, int64_t otherwise) {
    const pb::AttributeProto* found = find_attribute(node, name);
    const int64_t value = found == nullptr ? otherwise : found->i();
    return std::clamp<int64_t>(value < 0 ? value + rank : value, 0, rank);
  };
  const int64_t start = bound("start", 0);
  const int64_t end = std::max(bound("end", rank), start);
  const std::vector<int64_t> part(shape.begin() + start, shape.begin() + end);
  return Tensor::from<int64_t>({end - start}, part);
}

std::optional<Tensor> constant_value(const pb::NodeProto& node) {
  if (node.attribute_size() != 1) return std::nullopt;
  const pb::AttributeProto& attribute = node.attribute(0);
  const std::string& name = attribute.name();
  if (name == "value" && attribute.has_t() && tensor_type(attribute.t().data_type())) {
    return from_proto(attribute.t());
  }
  if (name == "value_float") return Tensor::scalar(attribute.f());
  if (name == "value_int") {
    const int64_t value = attribute.i();
    return Tensor::from<int64_t>({}, std::span(&value, 1));
  }
  if (name == "value_ints") {
    const std::vector<int64_t> values(attribute.ints().begin(), attribute.ints().end());
    return Tensor::from<int64_t>({static_cast<int64_t>(values.size())}, values);
  }
  if (name == "value_floats") {
    const std::vector<float> values(attribute.floats().begin(), attribute.floats().end());
    return Tensor::from<float>({static_cast<int64_t>(values.size())}, values);
  }
  return std::nullopt;
}

}  // namespace yoloquant::onnx

#include "onnx/model_builder.h"

#include "onnx/model_file.h"
#include "onnx/tensor_proto.h"

namespace yoloquant::onnx {

namespace {

// The newest IR version that readers of this opset's generation know.
int64_t ir_version_for(int opset) {
  if (opset >= 21) return 10;
  if (opset >= 19) return 9;
  if (opset >= 15) return 8;
  return 7;
}

void set_value(pb::AttributeProto& proto, int64_t value) {
  proto.set_type(pb::AttributeProto::INT);
  proto.set_i(value);
}
void set_value(pb::AttributeProto& proto, float value) {
  proto.set_type(pb::AttributeProto::FLOAT);
  proto.set_f(value);
}
void set_value(pb::AttributeProto& proto, const std::string& value) {
  proto.set_type(pb::AttributeProto::STRING);
  proto.set_s(value);
}
void set_value(pb::AttributeProto& proto, const std::vector<int64_t>& value) {
  proto.set_type(pb::AttributeProto::INTS);
  for (const int64_t item : value) proto.add_ints(item);
}

}  // namespace

ModelBuilder::ModelBuilder(int opset) : opset_(opset) {
  model_.set_ir_version(ir_version_for(opset));
  model_.set_producer_name("yoloquant");
  model_.set_producer_version(YOLOQUANT_VERSION);
  auto* import = model_.add_opset_import();
  import->set_domain("");
  import->set_version(opset);
  model_.mutable_graph()->set_name("yoloquant");
}

std::string ModelBuilder::take(std::set<std::string>& names, const std::string& wanted) {
  std::string name = wanted;
  for (int i = 1; !names.insert(name).second; ++i) name = fmt::format("{}_{}", wanted, i);
  return name;
}

std::string ModelBuilder::add(const std::string& op, const std::string& name,
                              const std::vector<std::string>& inputs,
                              const Attributes& attributes) {
  std::string output = take(value_names_, name);
  add_named(op, take(node_names_, name), inputs, {output}, attributes);
  return output;
}

std::vector<std::string> ModelBuilder::add_multiple(const std::string& op, const std::string& name,
                                                    const std::vector<std::string>& inputs,
                                                    size_t count, const Attributes& attributes) {
  std::vector<std::string> outputs;
  for (size_t i = 0; i < count; ++i) {
    outputs.push_back(take(value_names_, fmt::format("{}:{}", name, i)));
  }
  add_named(op, take(node_names_, name), inputs, outputs, attributes);
  return outputs;
}

void ModelBuilder::add_named(const std::string& op, const std::string& name,
                             const std::vector<std::string>& inputs,
                             const std::vector<std::string>& outputs,
                             const Attributes& attributes) {
  pb::NodeProto* node = model_.mutable_graph()->add_node();
  node->set_op_type(op);
  node->set_name(name);
  for (const auto& input : inputs) node->add_input(input);
  for (const auto& output : outputs) node->add_output(output);
  for (const auto& attribute : attributes) {
    pb::AttributeProto* proto = node->add_attribute();
    proto->set_name(attribute.name);
    std::visit([&](const auto& value) { set_value(*proto, value); }, attribute.value);
  }
}

void ModelBuilder::add_proto(const pb::NodeProto& node, int64_t domain_version) {
  *model_.mutable_graph()->add_node() = node;
  if (domain_version == 0) return;
  for (const auto& import : model_.opset_import()) {
    if (import.domain() == node.domain()) return;
  }
  auto* import = model_.add_opset_import();
  import->set_domain(node.domain());
  import->set_version(domain_version);
}

std::string ModelBuilder::initializer(const std::string& name, const Tensor& tensor) {
  std::string taken = take(value_names_, name);
  define(taken, tensor);
  return taken;
}

std::string ModelBuilder::packed_initializer(const std::string& name, const Tensor& codes) {
  std::string taken = take(value_names_, name);
  *model_.mutable_graph()->add_initializer() = to_packed_proto(taken, codes);
  return taken;
}

void ModelBuilder::define(const std::string& name, const Tensor& tensor) {
  *model_.mutable_graph()->add_initializer() = to_proto(name, tensor);
}

std::string ModelBuilder::constant(const std::string& kind, const Tensor& tensor) {
  const auto bytes = tensor.bytes();
  std::string content(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  auto [place, is_new] = constants_.try_emplace(
      std::tuple(tensor.dtype(), tensor.shape(), std::move(content)), std::string());
  if (is_new) place->second = initializer(kind, tensor);
  return place->second;
}

std::string ModelBuilder::ints(const std::string& kind, const std::vector<int64_t>& values) {
  return constant(kind, Tensor::from<int64_t>({static_cast<int64_t>(values.size())}, values));
}

std::string ModelBuilder::int_scalar(const std::string& kind, int64_t value) {
  return constant(kind, Tensor::from<int64_t>({}, std::span<const int64_t>(&value, 1)));
}

std::string ModelBuilder::float_scalar(const std::string& kind, float value, DType dtype) {
  return constant(kind, Tensor::scalar(value).to(dtype));
}

void ModelBuilder::declare(Role role, const std::string& name, DType dtype, const Shape& shape,
                           const std::vector<std::string>& symbols) {
  pb::GraphProto& graph = *model_.mutable_graph();
  pb::ValueInfoProto* info = role == Role::kInput    ? graph.add_input()
                             : role == Role::kOutput ? graph.add_output()
                                                     : graph.add_value_info();
  info->set_name(name);
  auto* tensor = info->mutable_type()->mutable_tensor_type();
  tensor->set_elem_type(onnx_type(dtype));
  for (const int64_t dim : shape) {
    auto* proto = tensor->mutable_shape()->add_dim();
    if (dim >= 0) {
      proto->set_dim_value(dim);
    } else if (dim != kUnknown) {
      proto->set_dim_param(symbols.at(static_cast<size_t>(-dim - 2)));
    }
  }
  if (shape.empty()) tensor->mutable_shape();  // a scalar, not an unknown shape
}

void ModelBuilder::metadata(const std::string& key, const std::string& value) {
  auto* entry = model_.add_metadata_props();
  entry->set_key(key);
  entry->set_value(value);
}

std::string ModelBuilder::serialize() const { return serialize_model(model_); }

}  // namespace yoloquant::onnx

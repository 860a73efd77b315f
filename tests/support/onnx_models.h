#pragma once

#include <string>
#include <vector>

#include "onnx-ml.pb.h"
#include "tensor/tensor.h"

// Hand-made ONNX models for the tests of the onnx and runtime layers.
namespace yoloquant::test {

// A model of IR version 8 and opset 17 with float32 values, built node by node.
class OnnxModel {
 public:
  explicit OnnxModel(int64_t opset = 17) {
    proto.set_ir_version(8);
    auto* import = proto.add_opset_import();
    import->set_domain("");
    import->set_version(opset);
    graph().set_name("test");
  }

  ::onnx::GraphProto& graph() { return *proto.mutable_graph(); }

  ::onnx::ValueInfoProto& value(::onnx::ValueInfoProto* info, const std::string& name,
                                const std::vector<int64_t>& shape, int type = 1) {
    info->set_name(name);
    auto* tensor = info->mutable_type()->mutable_tensor_type();
    tensor->set_elem_type(type);
    for (const int64_t dim : shape) tensor->mutable_shape()->add_dim()->set_dim_value(dim);
    return *info;
  }
  void input(const std::string& name, const std::vector<int64_t>& shape, int type = 1) {
    value(graph().add_input(), name, shape, type);
  }
  void output(const std::string& name, const std::vector<int64_t>& shape, int type = 1) {
    value(graph().add_output(), name, shape, type);
  }

  ::onnx::NodeProto& node(const std::string& op, const std::vector<std::string>& inputs,
                          const std::vector<std::string>& outputs) {
    auto* made = graph().add_node();
    made->set_op_type(op);
    made->set_name("node_" + outputs.at(0));
    for (const auto& name : inputs) made->add_input(name);
    for (const auto& name : outputs) made->add_output(name);
    return *made;
  }

  template <typename T>
  ::onnx::TensorProto& tensor(const std::string& name, const std::vector<int64_t>& shape,
                              const std::vector<T>& values, int type) {
    auto* made = graph().add_initializer();
    made->set_name(name);
    made->set_data_type(type);
    for (const int64_t dim : shape) made->add_dims(dim);
    made->set_raw_data(values.data(), values.size() * sizeof(T));
    return *made;
  }
  ::onnx::TensorProto& floats(const std::string& name, const std::vector<int64_t>& shape,
                              const std::vector<float>& values) {
    return tensor(name, shape, values, ::onnx::TensorProto::FLOAT);
  }
  ::onnx::TensorProto& ints(const std::string& name, const std::vector<int64_t>& values) {
    return tensor(name, {static_cast<int64_t>(values.size())}, values, ::onnx::TensorProto::INT64);
  }

  static void attribute(::onnx::NodeProto& node, const std::string& name, int64_t value) {
    auto* made = node.add_attribute();
    made->set_name(name);
    made->set_type(::onnx::AttributeProto::INT);
    made->set_i(value);
  }
  static void attribute(::onnx::NodeProto& node, const std::string& name,
                        const std::vector<int64_t>& values) {
    auto* made = node.add_attribute();
    made->set_name(name);
    made->set_type(::onnx::AttributeProto::INTS);
    for (const int64_t value : values) made->add_ints(value);
  }

  std::string bytes() const { return proto.SerializeAsString(); }

  ::onnx::ModelProto proto;
};

}  // namespace yoloquant::test

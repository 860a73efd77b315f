#pragma once

#include <map>
#include <set>
#include <string>
#include <tuple>
#include <variant>
#include <vector>

#include "onnx/proto.h"
#include "tensor/tensor.h"

// Private to this layer.
namespace yoloquant::onnx {

struct Attribute {
  std::string name;
  std::variant<int64_t, float, std::string, std::vector<int64_t>> value;
};
using Attributes = std::vector<Attribute>;

// An ONNX model under construction: keeps names unique, shares equal constants, writes raw_data.
class ModelBuilder {
 public:
  explicit ModelBuilder(int opset);

  int opset() const { return opset_; }

  // Names that nothing else may take: the graph's own values and nodes.
  void reserve_value(const std::string& name) { value_names_.insert(name); }
  void reserve_node(const std::string& name) { node_names_.insert(name); }

  // A node with one output named as the node; both get a suffix when the name is taken.
  std::string add(const std::string& op, const std::string& name,
                  const std::vector<std::string>& inputs, const Attributes& attributes = {});
  // A node whose name and outputs were reserved.
  void add_named(const std::string& op, const std::string& name,
                 const std::vector<std::string>& inputs, const std::vector<std::string>& outputs,
                 const Attributes& attributes = {});
  // `count` outputs named NAME:0, NAME:1, ...
  std::vector<std::string> add_multiple(const std::string& op, const std::string& name,
                                        const std::vector<std::string>& inputs, size_t count,
                                        const Attributes& attributes = {});
  // The same as ONNX has it; `domain_version` is of the operator set of its own domain, if any.
  void add_proto(const pb::NodeProto& node, int64_t domain_version);

  // A weight under a name of its own.
  std::string initializer(const std::string& name, const Tensor& tensor);
  // 4-bit codes (int8 or uint8) as INT4 or UINT4.
  std::string packed_initializer(const std::string& name, const Tensor& codes);
  // The value of a reserved name.
  void define(const std::string& name, const Tensor& tensor);
  // A small constant: equal ones are stored once, as KIND, KIND_1, ...
  std::string constant(const std::string& kind, const Tensor& tensor);
  std::string ints(const std::string& kind, const std::vector<int64_t>& values);  // [n]
  std::string int_scalar(const std::string& kind, int64_t value);                 // []
  std::string float_scalar(const std::string& kind, float value, DType dtype);    // []

  // Dimensions: >= 0 a size, kUnknown none, else an index into `symbols` as -(index + 2).
  static constexpr int64_t kUnknown = -1;
  static constexpr int64_t symbol(int64_t index) { return -index - 2; }
  enum class Role { kInput, kOutput, kValue };
  void declare(Role role, const std::string& name, DType dtype, const Shape& shape,
               const std::vector<std::string>& symbols = {});

  void metadata(const std::string& key, const std::string& value);

  // Throws Error when the file would pass protobuf's 2 GiB.
  std::string serialize() const;

 private:
  static std::string take(std::set<std::string>& names, const std::string& wanted);

  int opset_;
  pb::ModelProto model_;
  std::set<std::string> value_names_;
  std::set<std::string> node_names_;
  std::map<std::tuple<DType, Shape, std::string>, std::string> constants_;
};

}  // namespace yoloquant::onnx

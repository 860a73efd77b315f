#include "onnx/tensor_proto.h"

#include <algorithm>
#include <cstring>

namespace yoloquant::onnx {

int onnx_type(DType dtype) {
  switch (dtype) {
    case DType::kFloat32:
      return pb::TensorProto::FLOAT;
    case DType::kFloat16:
      return pb::TensorProto::FLOAT16;
    case DType::kBFloat16:
      return pb::TensorProto::BFLOAT16;
    case DType::kFloat64:
      return pb::TensorProto::DOUBLE;
    case DType::kInt8:
      return pb::TensorProto::INT8;
    case DType::kUInt8:
      return pb::TensorProto::UINT8;
    case DType::kInt16:
      return pb::TensorProto::INT16;
    case DType::kInt32:
      return pb::TensorProto::INT32;
    case DType::kInt64:
      return pb::TensorProto::INT64;
    case DType::kBool:
      return pb::TensorProto::BOOL;
  }
  return pb::TensorProto::UNDEFINED;
}

std::optional<DType> tensor_type(int data_type) {
  for (const DType dtype :
       {DType::kFloat32, DType::kFloat16, DType::kBFloat16, DType::kFloat64, DType::kInt8,
        DType::kUInt8, DType::kInt16, DType::kInt32, DType::kInt64, DType::kBool}) {
    if (onnx_type(dtype) == data_type) return dtype;
  }
  return std::nullopt;
}

bool is_packed(int data_type) {
  return data_type == pb::TensorProto::INT4 || data_type == pb::TensorProto::UINT4;
}

std::string data_type_name(int data_type) {
  if (const auto dtype = tensor_type(data_type)) return std::string(dtype_name(*dtype));
  if (!pb::TensorProto::DataType_IsValid(data_type)) return fmt::format("type {}", data_type);
  std::string name =
      pb::TensorProto::DataType_Name(static_cast<pb::TensorProto::DataType>(data_type));
  std::ranges::transform(name, name.begin(), [](unsigned char c) { return std::tolower(c); });
  return name;
}

int64_t data_type_bits(int data_type) {
  if (const auto dtype = tensor_type(data_type)) {
    return static_cast<int64_t>(element_size(*dtype)) * 8;
  }
  switch (data_type) {
    case pb::TensorProto::UINT2:
    case pb::TensorProto::INT2:
      return 2;
    case pb::TensorProto::UINT4:
    case pb::TensorProto::INT4:
    case pb::TensorProto::FLOAT4E2M1:
      return 4;
    case pb::TensorProto::FLOAT8E4M3FN:
    case pb::TensorProto::FLOAT8E4M3FNUZ:
    case pb::TensorProto::FLOAT8E5M2:
    case pb::TensorProto::FLOAT8E5M2FNUZ:
    case pb::TensorProto::FLOAT8E8M0:
      return 8;
    case pb::TensorProto::UINT16:
      return 16;
    case pb::TensorProto::UINT32:
      return 32;
    case pb::TensorProto::UINT64:
    case pb::TensorProto::COMPLEX64:
      return 64;
    case pb::TensorProto::COMPLEX128:
      return 128;
    default:
      return 0;
  }
}

pb::TensorProto to_proto(const std::string& name, const Tensor& tensor) {
  pb::TensorProto proto;
  proto.set_name(name);
  proto.set_data_type(onnx_type(tensor.dtype()));
  for (const int64_t dim : tensor.shape()) proto.add_dims(dim);
  const auto bytes = tensor.bytes();
  proto.set_raw_data(bytes.data(), bytes.size());
  return proto;
}

pb::TensorProto to_packed_proto(const std::string& name, const Tensor& codes) {
  pb::TensorProto proto;
  proto.set_name(name);
  proto.set_data_type(codes.dtype() == DType::kInt8 ? pb::TensorProto::INT4
                                                    : pb::TensorProto::UINT4);
  for (const int64_t dim : codes.shape()) proto.add_dims(dim);
  const auto bytes = codes.bytes();
  std::string packed((bytes.size() + 1) / 2, '\0');
  for (size_t i = 0; i < bytes.size(); ++i) {
    const auto code = static_cast<unsigned>(bytes[i]) & 0xFU;
    packed[i / 2] = static_cast<char>(static_cast<unsigned char>(packed[i / 2]) |
                                      (i % 2 == 0 ? code : code << 4U));
  }
  proto.set_raw_data(std::move(packed));
  return proto;
}

Shape dims_of(const pb::TensorProto& proto) { return {proto.dims().begin(), proto.dims().end()}; }

int64_t expected_bytes(const pb::TensorProto& proto) {
  const int64_t elements = element_count(dims_of(proto));
  int64_t bits = 0;
  if (__builtin_mul_overflow(elements, data_type_bits(proto.data_type()), &bits)) {
    fail("tensor of {} elements is too large", elements);
  }
  return bits / 8 + (bits % 8 != 0 ? 1 : 0);
}

namespace {

// Elements in the typed field that this data type uses.
int64_t typed_count(const pb::TensorProto& proto) {
  switch (proto.data_type()) {
    case pb::TensorProto::FLOAT:
      return proto.float_data_size();
    case pb::TensorProto::DOUBLE:
      return proto.double_data_size();
    case pb::TensorProto::INT64:
      return proto.int64_data_size();
    case pb::TensorProto::UINT32:
    case pb::TensorProto::UINT64:
      return proto.uint64_data_size();
    case pb::TensorProto::STRING:
      return proto.string_data_size();
    case pb::TensorProto::COMPLEX64:
      return proto.float_data_size() / 2;
    case pb::TensorProto::COMPLEX128:
      return proto.double_data_size() / 2;
    default:
      return proto.int32_data_size();
  }
}

template <typename T, typename Field>
Tensor from_field(const Shape& shape, const Field& field) {
  std::vector<T> values(static_cast<size_t>(field.size()));
  std::ranges::transform(field, values.begin(), [](auto value) { return static_cast<T>(value); });
  return Tensor::from<T>(shape, values);
}

Tensor from_int32_field(DType dtype, const pb::TensorProto& proto) {
  const Shape shape = dims_of(proto);
  const auto& field = proto.int32_data();
  switch (dtype) {
    case DType::kInt8:
      return from_field<int8_t>(shape, field);
    case DType::kUInt8:
      return from_field<uint8_t>(shape, field);
    case DType::kInt16:
      return from_field<int16_t>(shape, field);
    case DType::kInt32:
      return from_field<int32_t>(shape, field);
    default: {
      Tensor tensor(dtype, shape);  // bool, float16, bfloat16: the low bits of each entry
      const size_t size = element_size(dtype);
      std::byte* out = tensor.mutable_bytes().data();
      for (const int32_t value : field) {
        const int32_t bits = dtype == DType::kBool ? static_cast<int32_t>(value != 0) : value;
        std::memcpy(out, &bits, size);
        out += size;
      }
      return tensor;
    }
  }
}

// INT4 and UINT4, from raw_data or from int32_data, of which each entry holds one byte.
Tensor unpack(const pb::TensorProto& proto) {
  const bool is_signed = proto.data_type() == pb::TensorProto::INT4;
  Tensor codes(is_signed ? DType::kInt8 : DType::kUInt8, dims_of(proto));
  const auto out = codes.mutable_bytes();
  for (size_t i = 0; i < out.size(); ++i) {
    const auto byte =
        proto.has_raw_data()
            ? static_cast<unsigned char>(proto.raw_data()[i / 2])
            : static_cast<unsigned char>(proto.int32_data(static_cast<int>(i / 2)) & 0xFF);
    const int code = i % 2 == 0 ? byte & 0xF : byte >> 4;
    out[i] = static_cast<std::byte>(is_signed && code > 7 ? code - 16 : code);
  }
  return codes;
}

}  // namespace

std::string data_problem(const pb::TensorProto& proto) {
  try {
    if (proto.has_segment()) return "is split into segments, which nothing supports";
    if (proto.data_type() == pb::TensorProto::STRING) {
      const bool fits = element_count(dims_of(proto)) == proto.string_data_size();
      return fits ? "" : "holds another number of strings than its shape has elements";
    }
    if (data_type_bits(proto.data_type()) == 0) {
      return fmt::format("has unknown data type {}", proto.data_type());
    }
    const int64_t bytes = expected_bytes(proto);
    if (proto.data_location() == pb::TensorProto::EXTERNAL) return "";
    if (proto.has_raw_data()) {
      if (static_cast<int64_t>(proto.raw_data().size()) == bytes) return "";
      return fmt::format("of type {} and shape {} needs {} bytes, raw_data has {}",
                         data_type_name(proto.data_type()), shape_string(dims_of(proto)), bytes,
                         proto.raw_data().size());
    }
    const int64_t bits = data_type_bits(proto.data_type());
    // Types below a byte pack two or four elements into one int32_data entry.
    const int64_t wanted = bits < 8 ? bytes : element_count(dims_of(proto));
    if (typed_count(proto) == wanted) return "";
    return fmt::format("of shape {} needs {} elements, its data field has {}",
                       shape_string(dims_of(proto)), wanted, typed_count(proto));
  } catch (const Error& error) {
    return error.what();
  }
}

Tensor from_proto(const pb::TensorProto& proto) {
  if (const std::string problem = data_problem(proto); !problem.empty()) {
    fail("tensor '{}' {}", proto.name(), problem);
  }
  const auto dtype = tensor_type(proto.data_type());
  if (!dtype && !is_packed(proto.data_type())) {
    fail("tensor '{}': type {} is not supported", proto.name(), data_type_name(proto.data_type()));
  }
  if (proto.data_location() == pb::TensorProto::EXTERNAL) {
    fail("tensor '{}': its external data was not loaded", proto.name());
  }
  if (!dtype) return unpack(proto);
  const Shape shape = dims_of(proto);
  if (proto.has_raw_data()) {
    const std::string& raw = proto.raw_data();
    Tensor tensor(*dtype, shape, std::as_bytes(std::span(raw.data(), raw.size())));
    if (*dtype == DType::kBool) {  // any other byte is no valid bool
      for (std::byte& byte : tensor.mutable_bytes()) byte = std::min(byte, std::byte{1});
    }
    return tensor;
  }
  switch (*dtype) {
    case DType::kFloat32:
      return from_field<float>(shape, proto.float_data());
    case DType::kFloat64:
      return from_field<double>(shape, proto.double_data());
    case DType::kInt64:
      return from_field<int64_t>(shape, proto.int64_data());
    default:
      return from_int32_field(*dtype, proto);
  }
}

}  // namespace yoloquant::onnx

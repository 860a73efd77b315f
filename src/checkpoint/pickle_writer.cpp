#include "checkpoint/pickle_writer.h"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <limits>
#include <unordered_map>

#include "base/error.h"
#include "checkpoint/pickle_opcodes.h"
#include "checkpoint/pickle_scalars.h"
#include "checkpoint/torch_types.h"

namespace yoloquant::checkpoint {

namespace {

constexpr size_t kMaxDepth = 1000;
constexpr size_t kMaxPathText = 200;

// One step into a container: a key of a dict, or an index.
struct Step {
  const Value* key;
  size_t index;
};

// "optimizer.state[3]"
std::string path_text(const std::vector<Step>& path) {
  std::string text;
  for (const auto& [key, index] : path) {
    if (text.size() > kMaxPathText) return text + "...";
    if (key == nullptr) {
      text += fmt::format("[{}]", index);
    } else if (key->is_string()) {
      text += (text.empty() ? "" : ".") + key->as_string();
    } else {
      text += key->kind() == Kind::kInt ? fmt::format("[{}]", key->as_int()) : "[...]";
    }
  }
  return text;
}

class PickleWriter {
 public:
  PickledTensors run(const Value& value) {
    put(Opcode::kProto);
    put8(2);
    try {
      write(value);
    } catch (Error& error) {
      if (!path_.empty()) error.add_context(path_text(path_));
      throw;
    }
    put(Opcode::kStop);
    return std::move(result_);
  }

 private:
  void write(const Value& value);
  void write_int(int64_t value);
  void write_long(const Value& value);
  void write_float(double value);
  void write_string(const std::string& text);
  void write_bytes(const std::string& bytes);
  void write_sequence(const Value& value);
  void write_dict(const Value& value);
  void write_tensor(const Value& value);
  void write_storage(const Tensor& tensor);
  void write_global(const std::string& module, const std::string& name);

  void put(Opcode opcode) { result_.pickle += static_cast<char>(opcode); }
  void put8(uint8_t value) { result_.pickle += static_cast<char>(value); }
  void put32(uint32_t value) {
    for (int shift = 0; shift < 32; shift += 8) put8(static_cast<uint8_t>(value >> shift));
  }
  // Gives the value just written the next number of the memo.
  uint32_t memoize();
  void get(uint32_t index);
  bool get_if_known(const Value& value);
  void remember(const Value& value) { containers_.emplace(value.identity(), memoize()); }

  PickledTensors result_;
  std::vector<Step> path_;  // left as it is when something fails
  uint32_t memo_size_ = 0;
  std::unordered_map<const void*, uint32_t> containers_;
  std::unordered_map<std::string, uint32_t> strings_;
  std::unordered_map<std::string, uint32_t> globals_;
};

uint32_t PickleWriter::memoize() {
  const uint32_t index = memo_size_++;
  if (index < 256) {
    put(Opcode::kBinPut);
    put8(static_cast<uint8_t>(index));
  } else {
    put(Opcode::kLongBinPut);
    put32(index);
  }
  return index;
}

void PickleWriter::get(uint32_t index) {
  if (index < 256) {
    put(Opcode::kBinGet);
    put8(static_cast<uint8_t>(index));
  } else {
    put(Opcode::kLongBinGet);
    put32(index);
  }
}

bool PickleWriter::get_if_known(const Value& value) {
  const auto known = containers_.find(value.identity());
  if (known == containers_.end()) return false;
  get(known->second);
  return true;
}

void PickleWriter::write(const Value& value) {
  if (path_.size() > kMaxDepth) fail("values are nested more than {} deep", kMaxDepth);
  switch (value.kind()) {
    case Kind::kNone:
      return put(Opcode::kNone);
    case Kind::kBool:
      return put(value.as_bool() ? Opcode::kNewTrue : Opcode::kNewFalse);
    case Kind::kInt:
      return write_int(value.as_int());
    case Kind::kBigInt:
      return write_long(value);
    case Kind::kFloat:
      return write_float(value.as_float());
    case Kind::kString:
      return write_string(value.as_string());
    case Kind::kBytes:
      return write_bytes(value.as_bytes());
    case Kind::kList:
    case Kind::kTuple:
    case Kind::kSet:
      return write_sequence(value);
    case Kind::kDict:
      return write_dict(value);
    case Kind::kTensor:
      return write_tensor(value);
    case Kind::kGlobal: {
      const Global& global = value.as_global();
      if (global.module != "torch" || !dtype_of_torch_dtype(global.name)) {
        fail("the class {} cannot be written", global.full_name());
      }
      return write_global(global.module, global.name);
    }
    case Kind::kBackReference: {
      const Value target = value.resolve();
      if (target.is_none() || !get_if_known(target)) fail("a reference to what is not written");
      return;
    }
    case Kind::kObject:
      fail("an object of class {} cannot be written", value.as_object().type_name());
    case Kind::kStorage:
      fail("a storage cannot be written");
  }
}

void PickleWriter::write_int(int64_t value) {
  if (value >= 0 && value < 256) {
    put(Opcode::kBinInt1);
    put8(static_cast<uint8_t>(value));
  } else if (value >= std::numeric_limits<int32_t>::min() &&
             value <= std::numeric_limits<int32_t>::max()) {
    put(Opcode::kBinInt);
    put32(static_cast<uint32_t>(value));
  } else {
    write_long(value);
  }
}

void PickleWriter::write_long(const Value& value) {
  const std::string bytes = integer_to_bytes(value);
  if (bytes.size() > 255) fail("an integer of {} bytes is too large", bytes.size());
  put(Opcode::kLong1);
  put8(static_cast<uint8_t>(bytes.size()));
  result_.pickle += bytes;
}

void PickleWriter::write_float(double value) {
  put(Opcode::kBinFloat);
  const auto bits = std::bit_cast<uint64_t>(value);
  for (int shift = 56; shift >= 0; shift -= 8) put8(static_cast<uint8_t>(bits >> shift));
}

void PickleWriter::write_string(const std::string& text) {
  if (const auto known = strings_.find(text); known != strings_.end()) return get(known->second);
  if (text.size() > std::numeric_limits<uint32_t>::max()) fail("a string is too large");
  put(Opcode::kBinUnicode);
  put32(static_cast<uint32_t>(text.size()));
  result_.pickle += text;
  strings_.emplace(text, memoize());
}

// Protocol 2 has no bytes: Python stores them as text that is to be encoded.
void PickleWriter::write_bytes(const std::string& bytes) {
  write_global("_codecs", "encode");
  write_string(latin1_to_utf8(bytes));
  write_string("latin1");
  put(Opcode::kTuple2);
  put(Opcode::kReduce);
}

void PickleWriter::write_sequence(const Value& value) {
  if (get_if_known(value)) return;
  const auto write_items = [&] {
    put(Opcode::kMark);
    for (size_t i = 0; i < value.items().size(); ++i) {
      path_.push_back({nullptr, i});
      write(value.items()[i]);
      path_.pop_back();
    }
  };
  if (value.kind() == Kind::kTuple) {
    if (value.items().empty()) return put(Opcode::kEmptyTuple);
    write_items();
    put(Opcode::kTuple);
    return remember(value);
  }
  if (value.kind() == Kind::kSet) {
    write_global("__builtin__", "set");
    put(Opcode::kEmptyList);
    write_items();
    put(Opcode::kAppends);
    put(Opcode::kTuple1);
    put(Opcode::kReduce);
    return remember(value);
  }
  put(Opcode::kEmptyList);
  remember(value);
  write_items();
  put(Opcode::kAppends);
}

void PickleWriter::write_dict(const Value& value) {
  if (get_if_known(value)) return;
  if (value.is_ordered_dict()) {
    write_global("collections", "OrderedDict");
    put(Opcode::kEmptyTuple);
    put(Opcode::kReduce);
  } else {
    put(Opcode::kEmptyDict);
  }
  remember(value);
  if (value.entries().empty()) return;
  put(Opcode::kMark);
  for (const auto& [key, item] : value.entries()) {
    path_.push_back({&key, 0});
    write(key);
    write(item);
    path_.pop_back();
  }
  put(Opcode::kSetItems);
}

// torch._utils._rebuild_tensor_v2(storage, offset, size, stride, requires_grad, backward_hooks)
void PickleWriter::write_tensor(const Value& value) {
  if (get_if_known(value)) return;
  const Tensor tensor = value.tensor();
  write_global("torch._utils", "_rebuild_tensor_v2");
  put(Opcode::kMark);
  write_storage(tensor);
  write_int(0);
  Shape strides(tensor.rank());
  int64_t stride = 1;
  for (size_t axis = tensor.rank(); axis-- > 0;) {
    strides[axis] = stride;
    stride *= std::max<int64_t>(tensor.shape()[axis], 1);
  }
  for (const Shape& numbers : {tensor.shape(), strides}) {
    put(Opcode::kMark);
    for (const int64_t number : numbers) write_int(number);
    put(Opcode::kTuple);
  }
  put(Opcode::kNewFalse);
  write_global("collections", "OrderedDict");
  put(Opcode::kEmptyTuple);
  put(Opcode::kReduce);
  put(Opcode::kTuple);
  put(Opcode::kReduce);
  remember(value);
}

void PickleWriter::write_storage(const Tensor& tensor) {
  const size_t key = result_.storages.size();
  result_.storages.push_back(tensor);
  put(Opcode::kMark);
  write_string("storage");
  write_global("torch", std::string(torch_storage_name(tensor.dtype())));
  write_string(std::to_string(key));
  write_string("cpu");
  write_int(tensor.size());
  put(Opcode::kTuple);
  put(Opcode::kBinPersId);
}

void PickleWriter::write_global(const std::string& module, const std::string& name) {
  std::string text = module + "\n" + name + "\n";
  if (const auto known = globals_.find(text); known != globals_.end()) return get(known->second);
  put(Opcode::kGlobal);
  result_.pickle += text;
  globals_.emplace(std::move(text), memoize());
}

}  // namespace

PickledTensors write_pickle_with_tensors(const Value& value) { return PickleWriter().run(value); }

}  // namespace yoloquant::checkpoint

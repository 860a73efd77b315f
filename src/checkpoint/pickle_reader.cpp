#include "checkpoint/pickle_reader.h"

#include <bit>
#include <iterator>
#include <utility>

#include "base/error.h"
#include "checkpoint/pickle_machine.h"
#include "checkpoint/pickle_scalars.h"

namespace yoloquant::checkpoint {

Value read_pickle(std::span<const std::byte> bytes, std::string_view name, PickleHooks& hooks,
                  const PickleLimits& limits) {
  PickleMachine machine(bytes, hooks, limits);
  try {
    return machine.run();
  } catch (Error& error) {
    error.add_context(fmt::format("{}, byte {}", name, machine.position()));
    throw;
  }
}

Value PickleMachine::run() {
  while (true) {
    position_ = reader_.position();
    const auto opcode = static_cast<Opcode>(reader_.u8());
    if (opcode == Opcode::kStop) break;
    step(opcode);
  }
  Value root = pop();
  if (!stack_.empty()) fail("{} values are left over at the end of the pickle", stack_.size());
  graph_.finish(root, limits_.max_depth);
  return root;
}

void PickleMachine::step(Opcode opcode) {
  if (step_memo(opcode) || step_scalar(opcode) || step_container(opcode) || step_object(opcode)) {
    return;
  }
  fail("opcode 0x{:02X} is not one of pickle protocols 2 to 5", static_cast<unsigned>(opcode));
}

// ---- Stack.

void PickleMachine::charge(size_t items) {
  if (items > limits_.max_items - pushed_) fail("more than {} values", limits_.max_items);
  pushed_ += items;
}

void PickleMachine::push(Value value) {
  charge(1);
  stack_.push_back(std::move(value));
}

Value& PickleMachine::top() {
  if (stack_.size() <= (marks_.empty() ? 0 : marks_.back())) fail("the stack is empty");
  return stack_.back();
}

Value PickleMachine::pop() {
  Value value = std::move(top());
  stack_.pop_back();
  return value;
}

Items PickleMachine::pop_to_mark() {
  if (marks_.empty()) fail("there is no mark on the stack");
  const auto first = stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back());
  Items items(std::make_move_iterator(first), std::make_move_iterator(stack_.end()));
  stack_.erase(first, stack_.end());
  marks_.pop_back();
  return items;
}

void PickleMachine::push_tuple(Items items) {
  if (!items.empty()) return push_container(Value::tuple(std::move(items)));
  if (empty_tuple_.is_none()) empty_tuple_ = Value::tuple();
  push(empty_tuple_);
}

// ---- Memo, marks and framing.

bool PickleMachine::step_memo(Opcode opcode) {
  switch (opcode) {
    case Opcode::kBinGet:
      get(reader_.u8());
      return true;
    case Opcode::kLongBinGet:
      get(reader_.u32());
      return true;
    case Opcode::kBinPut:
      put(reader_.u8());
      return true;
    case Opcode::kLongBinPut:
      put(reader_.u32());
      return true;
    case Opcode::kMemoize:
      put(memo_count_);
      return true;
    case Opcode::kMark:
      charge(1);
      marks_.push_back(stack_.size());
      return true;
    case Opcode::kPop:
      // Python's POP takes a mark when that is on top.
      if (!marks_.empty() && marks_.back() == stack_.size()) {
        marks_.pop_back();
      } else {
        pop();
      }
      return true;
    case Opcode::kPopMark:
      pop_to_mark();
      return true;
    case Opcode::kDup:
      push(Value(top()));
      return true;
    case Opcode::kProto:
      if (const int protocol = reader_.u8(); protocol < 2 || protocol > 5) {
        fail("pickle protocol {} is not supported, only 2 to 5", protocol);
      }
      return true;
    case Opcode::kFrame:
      if (const uint64_t size = reader_.u64(); size > reader_.left()) {
        fail("frame of {} bytes, {} are left", size, reader_.left());
      }
      return true;
    default:
      return false;
  }
}

void PickleMachine::put(size_t index) {
  // A pickle of n bytes cannot store n values, so a larger index is no honest one.
  if (index >= size_ || index >= limits_.max_items) fail("memo index {} is too large", index);
  if (index >= memo_.size()) {
    memo_.resize(index + 1);
    stored_.resize(index + 1);
  }
  if (!stored_[index]) ++memo_count_;
  stored_[index] = true;
  memo_[index] = top();
}

void PickleMachine::get(size_t index) {
  if (index >= memo_.size() || !stored_[index]) fail("memo index {} was never stored", index);
  push(memo_[index]);
}

// ---- Scalars.

void PickleMachine::push_text(uint64_t size) {
  const std::string_view text = reader_.text(size);
  if (!is_utf8(text)) fail("text is not UTF-8");
  push(Value(text));
}

void PickleMachine::push_bytes(uint64_t size) {
  push(Value(Bytes{std::string(reader_.text(size))}));
}

bool PickleMachine::step_scalar(Opcode opcode) {
  switch (opcode) {
    case Opcode::kNone:
      push({});
      return true;
    case Opcode::kNewTrue:
      push(true);
      return true;
    case Opcode::kNewFalse:
      push(false);
      return true;
    case Opcode::kBinInt:
      push(static_cast<int64_t>(reader_.number<int32_t>()));
      return true;
    case Opcode::kBinInt1:
      push(static_cast<int64_t>(reader_.u8()));
      return true;
    case Opcode::kBinInt2:
      push(static_cast<int64_t>(reader_.u16()));
      return true;
    case Opcode::kLong1:
    case Opcode::kLong4: {
      const size_t size = opcode == Opcode::kLong1 ? reader_.u8() : reader_.u32();
      if (size > limits_.max_integer_bytes) {
        fail("integer of {} bytes, more than {}", size, limits_.max_integer_bytes);
      }
      push(integer_from_bytes(reader_.take(size)));
      return true;
    }
    case Opcode::kBinFloat:
      push(std::bit_cast<double>(__builtin_bswap64(reader_.u64())));
      return true;
    case Opcode::kShortBinUnicode:
      push_text(reader_.u8());
      return true;
    case Opcode::kBinUnicode:
      push_text(reader_.u32());
      return true;
    case Opcode::kBinUnicode8:
      push_text(reader_.u64());
      return true;
    case Opcode::kShortBinString:
      push_text(reader_.u8());
      return true;
    case Opcode::kBinString:
      push_text(reader_.u32());
      return true;
    case Opcode::kShortBinBytes:
      push_bytes(reader_.u8());
      return true;
    case Opcode::kBinBytes:
      push_bytes(reader_.u32());
      return true;
    case Opcode::kBinBytes8:
    case Opcode::kByteArray8:
      push_bytes(reader_.u64());
      return true;
    default:
      return false;
  }
}

// ---- Containers.

bool PickleMachine::step_container(Opcode opcode) {
  switch (opcode) {
    case Opcode::kEmptyTuple:
      push_tuple({});
      return true;
    case Opcode::kTuple1:
    case Opcode::kTuple2:
    case Opcode::kTuple3: {
      Items items(1 + static_cast<size_t>(opcode) - static_cast<size_t>(Opcode::kTuple1));
      for (size_t i = items.size(); i-- > 0;) items[i] = pop();
      push_tuple(std::move(items));
      return true;
    }
    case Opcode::kTuple:
      push_tuple(pop_to_mark());
      return true;
    case Opcode::kEmptyList:
      push_container(Value::list());
      return true;
    case Opcode::kList:
      push_container(Value::list(pop_to_mark()));
      return true;
    case Opcode::kAppend: {
      Items one;
      one.push_back(pop());
      append(std::move(one));
      return true;
    }
    case Opcode::kAppends:
      append(pop_to_mark());
      return true;
    case Opcode::kEmptyDict:
      push_container(Value::dict());
      return true;
    case Opcode::kDict: {
      Items items = pop_to_mark();
      push_container(Value::dict());
      set_items(std::move(items));
      return true;
    }
    case Opcode::kSetItem: {
      Items pair(2);
      pair[1] = pop();
      pair[0] = pop();
      set_items(std::move(pair));
      return true;
    }
    case Opcode::kSetItems:
      set_items(pop_to_mark());
      return true;
    case Opcode::kEmptySet:
      push_container(Value::set());
      return true;
    case Opcode::kFrozenSet:
      push_container(Value::set(pop_to_mark()));
      return true;
    case Opcode::kAddItems:
      add_items(pop_to_mark());
      return true;
    default:
      return false;
  }
}

namespace {

void move_to_end(Items from, Items& to) {
  to.insert(to.end(), std::make_move_iterator(from.begin()), std::make_move_iterator(from.end()));
}

}  // namespace

void PickleMachine::append(Items items) {
  Value& target = top();
  if (target.kind() == Kind::kList) return move_to_end(std::move(items), target.mutable_items());
  if (target.is_object()) {
    return move_to_end(std::move(items), target.mutable_object().list_items);
  }
  fail("expected a list to append to, found {}", kind_name(target.kind()));
}

void PickleMachine::add_items(Items items) {
  Value& target = top();
  if (target.kind() == Kind::kSet) return move_to_end(std::move(items), target.mutable_items());
  if (target.is_object()) {
    return move_to_end(std::move(items), target.mutable_object().list_items);
  }
  fail("expected a set to add to, found {}", kind_name(target.kind()));
}

void PickleMachine::set_items(Items items) {
  if (items.size() % 2 != 0) fail("a key without value");
  Value& target = top();
  if (!target.is_dict() && !target.is_object()) {
    fail("expected a dict to add to, found {}", kind_name(target.kind()));
  }
  Entries& entries =
      target.is_dict() ? target.mutable_entries() : target.mutable_object().dict_items;
  if (entries.empty()) entries.reserve(items.size() / 2);
  for (size_t i = 0; i < items.size(); i += 2) {
    entries.emplace_back(std::move(items[i]), std::move(items[i + 1]));
  }
}

// ---- Names, calls and instances.

bool PickleMachine::step_object(Opcode opcode) {
  switch (opcode) {
    case Opcode::kGlobal: {
      const std::string_view module = reader_.line();
      push_global(module, reader_.line());
      return true;
    }
    case Opcode::kStackGlobal: {
      const Value name = pop();
      const Value module = pop();
      push_global(module.as_string(), name.as_string());
      return true;
    }
    case Opcode::kReduce:
    case Opcode::kNewObj: {
      const Value args = pop();
      const Value callable = pop();
      reduce(callable, args, {});
      return true;
    }
    case Opcode::kNewObjEx: {
      Value kwargs = pop();
      const Value args = pop();
      const Value callable = pop();
      reduce(callable, args, std::move(kwargs));
      return true;
    }
    case Opcode::kBuild:
      build();
      return true;
    case Opcode::kPersId:
      push(hooks_.persistent_load(Value(reader_.line())));
      return true;
    case Opcode::kBinPersId:
      push(hooks_.persistent_load(pop()));
      return true;
    case Opcode::kExt1:
    case Opcode::kExt2:
    case Opcode::kExt4:
      fail("extension codes are not supported");
    case Opcode::kNextBuffer:
    case Opcode::kReadOnlyBuffer:
      fail("out-of-band buffers are not supported");
    default:
      return false;
  }
}

void PickleMachine::push_global(std::string_view module, std::string_view name) {
  constexpr size_t kMaxName = 1024;
  if (module.size() > kMaxName || name.size() > kMaxName) {
    fail("the name of a class has more than {} bytes", kMaxName);
  }
  if (!is_utf8(module) || !is_utf8(name)) fail("the name of a class is not UTF-8");
  push(Value(Global{std::string(module), std::string(name)}));
}

namespace {

// Values' worth of memory that an interpreted call has made. It counts, since a pickle can repeat
// such a call on the same large argument at the cost of a few bytes.
size_t weight(const Value& value) {
  if (value.is_string()) return value.as_string().size() / sizeof(Value);
  if (value.kind() == Kind::kBytes) return value.as_bytes().size() / sizeof(Value);
  return child_count(value);
}

}  // namespace

void PickleMachine::reduce(const Value& callable, const Value& args, Value kwargs) {
  if (args.kind() != Kind::kTuple) {
    fail("expected a tuple of arguments, found {}", kind_name(args.kind()));
  }
  if (callable.kind() == Kind::kGlobal && kwargs.is_none()) {
    if (std::optional<Value> known = hooks_.call(callable.as_global(), args.items())) {
      charge(weight(*known));
      return push_container(*std::move(known));
    }
  }
  Object object;
  object.type = callable;
  object.args = args;
  object.kwargs = std::move(kwargs);
  push_container(Value(std::move(object)));
}

void PickleMachine::build() {
  Value state = pop();
  Value& target = top();
  if (target.is_object()) {
    target.mutable_object().state = std::move(state);
    return;
  }
  // Attributes of plain values (an OrderedDict's _metadata, a tensor's hooks) carry no data.
  const bool has_attributes = target.is_dict() || target.is_sequence() || target.is_tensor();
  if (!has_attributes) fail("a state for {}", kind_name(target.kind()));
}

}  // namespace yoloquant::checkpoint

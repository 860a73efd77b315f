#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "checkpoint/byte_reader.h"
#include "checkpoint/pickle_graph.h"
#include "checkpoint/pickle_opcodes.h"
#include "checkpoint/pickle_reader.h"

namespace yoloquant::checkpoint {

// The state of read_pickle: a stack with marks and a memo, as in CPython's Unpickler.
class PickleMachine {
 public:
  PickleMachine(std::span<const std::byte> bytes, PickleHooks& hooks, const PickleLimits& limits)
      : reader_(bytes), size_(bytes.size()), hooks_(hooks), limits_(limits) {}

  Value run();
  // Where the opcode in hand, or the last one, starts.
  size_t position() const { return position_; }

 private:
  void step(Opcode opcode);
  bool step_scalar(Opcode opcode);
  bool step_container(Opcode opcode);
  bool step_object(Opcode opcode);
  bool step_memo(Opcode opcode);

  void push(Value value);
  // Counts `items` values against the limit.
  void charge(size_t items);
  Value pop();
  Value& top();
  // Everything above the last mark, which goes too.
  Items pop_to_mark();
  void push_tuple(Items items);
  void push_container(Value container) { push(graph_.own(std::move(container))); }

  void push_text(uint64_t size);
  void push_bytes(uint64_t size);
  void push_global(std::string_view module, std::string_view name);
  void append(Items items);
  void set_items(Items items);
  void add_items(Items items);
  void reduce(const Value& callable, const Value& args, Value kwargs);
  void build();
  void put(size_t index);
  void get(size_t index);

  ByteReader reader_;
  size_t size_;
  size_t position_ = 0;
  PickleHooks& hooks_;
  PickleLimits limits_;
  PickleGraph graph_;
  std::vector<Value> stack_;
  std::vector<size_t> marks_;
  std::vector<Value> memo_;
  std::vector<bool> stored_;  // which memo slots are set
  size_t memo_count_ = 0;
  size_t pushed_ = 0;
  Value empty_tuple_;
};

}  // namespace yoloquant::checkpoint

// Any bytes as a checkpoint, and as a bare pickle: they read or throw Error.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "base/error.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/pickle_reader.h"
#include "checkpoint/pickle_writer.h"
#include "checkpoint/value_text.h"

namespace {

using yoloquant::Error;
namespace ck = yoloquant::checkpoint;

template <typename Body>
void errors_are_fine(Body body) {
  try {
    body();
  } catch (const Error&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto owner = std::make_shared<const std::string>(reinterpret_cast<const char*>(data), size);
  const auto bytes = std::as_bytes(std::span(*owner));
  ck::ReadOptions options;
  options.verify_checksums = false;  // or every change of a record would stop at its checksum
  options.both_entries = true;
  options.limits.max_items = 200'000;
  errors_are_fine([&] { ck::read_bytes(bytes, owner, options); });
  std::string pickle;
  errors_are_fine([&] {
    ck::PickleHooks hooks;
    const ck::Value value = ck::read_pickle(bytes, "input", hooks, options.limits);
    // What was read can be shown and, as plain data, written.
    errors_are_fine([&] { ck::to_json(value); });
    errors_are_fine([&] { ck::to_yaml(value); });
    pickle = ck::write_pickle_with_tensors(ck::to_plain(value)).pickle;
  });
  if (!pickle.empty()) {
    // An Error here is a bug: what we write can be read.
    ck::PickleHooks hooks;
    ck::read_pickle(std::as_bytes(std::span(pickle)), "output", hooks);
  }
  return 0;
}

#include "runtime/opaque.h"

#include <memory>

#include "runtime/session.h"

namespace yoloquant::runtime {

graph::Opaque::Function opaque_function(const std::string& model) {
  // One thread: idle threads of many small sessions would get in each other's way.
  const SessionOptions options{.provider = Provider::kCpu, .threads = 1};
  auto session = std::make_shared<Session>(Session::from_bytes(model, options, "its operator"));
  return [session](const std::vector<Tensor>& inputs) { return session->run(inputs); };
}

}  // namespace yoloquant::runtime

#include <cstdlib>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>

#include "train/process_group_backend.h"

namespace yoloquant::train {

namespace {

using Gloo = c10d::ProcessGroupGloo;

bool is_loopback(const std::string& host) {
  return host == "localhost" || host == "::1" || host.starts_with("127.");
}

// The network that the ranks talk over. GLOO_SOCKET_IFNAME chooses it, as in PyTorch.
auto make_device(const RankEnvironment& environment) {
  const char* interface = std::getenv("GLOO_SOCKET_IFNAME");
  if (interface != nullptr) return Gloo::createDeviceForInterface(interface);
  // A machine's own name need not lead to an address that it can be reached at.
  if (is_loopback(environment.master_address)) return Gloo::createDeviceForHostname("127.0.0.1");
  return Gloo::createDefaultDevice();
}

}  // namespace

c10::intrusive_ptr<c10d::Backend> make_gloo_backend(const c10::intrusive_ptr<c10d::Store>& store,
                                                    const RankEnvironment& environment,
                                                    std::chrono::milliseconds join_timeout,
                                                    std::chrono::milliseconds timeout) {
  const auto options = Gloo::Options::create(join_timeout);
  options->devices.push_back(make_device(environment));
  auto group = c10::make_intrusive<Gloo>(store, environment.rank, environment.world_size, options);
  group->setTimeout(timeout);
  return group;
}

}  // namespace yoloquant::train

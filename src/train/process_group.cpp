#include "train/process_group.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/zeros.h>
#include <c10/core/Device.h>
#include <c10/util/Logging.h>

#include <cstdlib>
#include <exception>
#include <map>
#include <torch/csrc/distributed/c10d/Backend.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/text.h"
#include "train/process_group_backend.h"
#include "train/rank_heartbeat.h"

namespace yoloquant::train {

namespace {

// Messages of c10d go on for many lines, stack included; the first one says it.
std::string first_line(const std::exception& error) {
  const std::string text = error.what();
  return text.substr(0, text.find('\n'));
}

// c10d writes stack traces to stderr before it throws; the error says it all.
void silence_c10d() {
  constexpr int kFatalOnly = 3;
  if (std::getenv("TORCH_CPP_LOG_LEVEL") == nullptr) FLAGS_caffe2_log_level = kFatalOnly;
}

// The store that rank 0 keeps. The first opening waits for all ranks.
c10::intrusive_ptr<c10d::TCPStore> open_store(const RankEnvironment& environment, bool first,
                                              std::chrono::milliseconds timeout) {
  c10d::TCPStoreOptions options;
  options.port = static_cast<uint16_t>(environment.master_port);
  options.isServer = first && environment.rank == 0;
  options.waitWorkers = first;
  if (first) options.numWorkers = static_cast<size_t>(environment.world_size);
  options.timeout = timeout;
  return c10::make_intrusive<c10d::TCPStore>(environment.master_address, options);
}

}  // namespace

struct ProcessGroup::Connection {
  Connection(const RankEnvironment& environment, const ProcessGroupOptions& options)
      : rank(environment.rank), timeout(options.timeout) {
    if (options.device != "cpu" && !nccl_is_built_in()) {
      fail_usage(
          "training on several GPUs needs NCCL, which this build is without: build with a LibTorch "
          "for CUDA and the headers of NCCL, or train on the CPU or on one GPU");
    }
    silence_c10d();
    try {
      join(environment, options);
    } catch (const std::exception& error) {
      fail(
          "rank {} of {} did not meet the others at {}:{} within {}: {}; are all ranks running, "
          "with the same MASTER_ADDR and MASTER_PORT?",
          rank, environment.world_size, environment.master_address, environment.master_port,
          human_seconds(std::chrono::duration<double>(options.join_timeout).count()),
          first_line(error));
    }
  }

  ~Connection() {
    // Gloo's destructor waits for operations under way, which a rank that is gone never ends: what
    // failed is left to the end of the process.
    if (!failure.empty() || std::uncaught_exceptions() > 0) static_cast<void>(backend.release());
  }

  void join(const RankEnvironment& environment, const ProcessGroupOptions& options) {
    store = open_store(environment, /*first=*/true, options.join_timeout);
    backend = options.device == "cpu"
                  ? make_gloo_backend(store, environment, options.join_timeout, options.timeout)
                  : make_nccl_backend(store, environment, options.timeout);
    heartbeat = std::make_unique<RankHeartbeat>(
        open_store(environment, /*first=*/false, options.join_timeout), environment.rank,
        environment.world_size);
  }

  // Runs an operation; what it throws becomes one line about who is missing.
  template <typename Operation>
  auto run(Operation&& operation) {
    if (!failure.empty()) throw Error(failure);
    try {
      return std::forward<Operation>(operation)();
    } catch (const std::exception& error) {
      const std::string reason = first_line(error);
      const std::optional<int> lost = heartbeat->find_lost_rank();
      failure = lost ? fmt::format("rank {} is gone: rank {} cannot go on without it", *lost, rank)
                     : fmt::format(
                           "rank {} got no answer from the others, though all are running "
                           "(time limit {}): {}",
                           rank, limit(), reason);
      throw Error(failure);
    }
  }

  std::string limit() const {
    return human_seconds(std::chrono::duration<double>(timeout).count());
  }

  int rank;
  std::chrono::milliseconds timeout;
  c10::intrusive_ptr<c10d::TCPStore> store;
  c10::intrusive_ptr<c10d::Backend> backend;
  std::unique_ptr<RankHeartbeat> heartbeat;
  std::string failure;  // of an operation; "": none
};

ProcessGroup::ProcessGroup() = default;

ProcessGroup::ProcessGroup(const RankEnvironment& environment, const ProcessGroupOptions& options)
    : rank_(environment.rank), size_(environment.world_size), device_(options.device) {
  if (size_ > 1) connection_ = std::make_unique<Connection>(environment, options);
}

ProcessGroup::~ProcessGroup() = default;

at::Tensor ProcessGroup::sum(const at::Tensor& values) {
  const at::Tensor total = values.detach().clone(at::MemoryFormat::Contiguous);
  start_sum(total)();
  return total;
}

std::function<void()> ProcessGroup::start_sum(const at::Tensor& buffer) {
  if (connection_ == nullptr) return [] {};
  return connection_->run([&] {
    std::vector<at::Tensor> tensors = {buffer};
    auto work = connection_->backend->allreduce(tensors);
    return std::function<void()>([connection = connection_.get(), work = std::move(work)] {
      connection->run([&] { work->wait(); });
    });
  });
}

void ProcessGroup::broadcast(const exec::NamedTensors& tensors) {
  if (connection_ == nullptr) return;
  connection_->run([&] {
    // All of a type at once: models have hundreds of small tensors.
    std::map<at::ScalarType, std::vector<at::Tensor>> by_type;
    for (const auto& [name, tensor] : tensors) {
      by_type[tensor.scalar_type()].push_back(tensor.detach());
    }
    for (const auto& [type, values] : by_type) {
      std::vector<at::Tensor> flat;
      for (const at::Tensor& value : values) {
        flat.push_back(value.flatten().to(c10::Device(device_)));
      }
      std::vector<at::Tensor> sent = {at::cat(flat)};
      connection_->backend->broadcast(sent)->wait();
      int64_t begin = 0;
      for (const at::Tensor& value : values) {
        value.copy_(sent[0].slice(0, begin, begin + value.numel()).view(value.sizes()));
        begin += value.numel();
      }
    }
  });
}

void ProcessGroup::barrier() { any(false); }

bool ProcessGroup::any(bool here) {
  const at::Tensor votes = at::zeros({1}, at::TensorOptions().device(c10::Device(device_)));
  votes.fill_(here ? 1 : 0);
  return sum(votes).item<float>() > 0;
}

}  // namespace yoloquant::train

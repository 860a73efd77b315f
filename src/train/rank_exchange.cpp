#include "train/rank_exchange.h"

#include <algorithm>
#include <optional>
#include <vector>

#include "exec/convert.h"
#include "train/gradient_reducer.h"
#include "train/process_group.h"
#include "train/sync_norm.h"
#include "train/training_part.h"

namespace yoloquant::train {

class Ranks::Exchange : public RankExchange {
 public:
  Exchange(const RankEnvironment& environment, const std::string& device, bool sync_norms)
      : group(environment, {.device = device}), device_(device), sync_norms_(sync_norms) {}

  void attach(TrainableGraph& model, const NamedTensors& more) override {
    // What comes first is sent last: steps of quantizers hold up no other bucket there.
    std::vector<at::Tensor> parameters;
    for (const auto& [name, parameter] : more) parameters.push_back(parameter);
    for (const at::Tensor& parameter : model.parameters_in_order()) parameters.push_back(parameter);
    reducer_.emplace(group, parameters);
    if (sync_norms_) model.set_norm_hook(synchronized_norm(group));
  }

  int rank() const override { return group.rank(); }
  int size() const override { return group.size(); }
  at::Tensor sum_over_ranks(const at::Tensor& values) override { return group.sum(values); }
  void broadcast(const NamedTensors& tensors) override { group.broadcast(tensors); }
  void begin_backward(bool last) override {
    if (last) reducer_->arm();
  }
  void finish_backward(bool last) override {
    if (last) reducer_->finish();
  }

  void sum(std::span<double> values) {
    const Tensor host = Tensor::from<double>({static_cast<int64_t>(values.size())},
                                             std::vector<double>(values.begin(), values.end()));
    const Tensor sums = exec::to_host(group.sum(exec::view_of(host).to(c10::Device(device_))));
    std::ranges::copy(sums.data<double>(), values.begin());
  }

  ProcessGroup group;

 private:
  std::string device_;
  bool sync_norms_;
  std::optional<GradientReducer> reducer_;
};

Ranks::Ranks(const RankEnvironment& environment, const std::string& device, bool sync_norms) {
  if (environment.world_size == 1) return;
  exchange_ = std::make_shared<Exchange>(environment, device, sync_norms);
}
Ranks::~Ranks() = default;

std::shared_ptr<RankExchange> Ranks::exchange() const { return exchange_; }

void Ranks::sum(std::span<double> values) {
  if (exchange_) exchange_->sum(values);
}

bool Ranks::any(bool here) { return exchange_ ? exchange_->group.any(here) : here; }

void Ranks::barrier() {
  if (exchange_) exchange_->group.barrier();
}

}  // namespace yoloquant::train

#include "train/gradient_reducer.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/_foreach_copy.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/tensor.h>
#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/variable.h>

#include <algorithm>
#include <numeric>

#include "base/error.h"

namespace yoloquant::train {

namespace {

constexpr int64_t kMiB = int64_t{1} << 20;
constexpr int64_t kFirstBucket = 1 * kMiB;
constexpr int64_t kLargestBucket = 25 * kMiB;

}  // namespace

std::vector<size_t> bucket_sizes(const std::vector<int64_t>& bytes) {
  const int64_t total = std::accumulate(bytes.begin(), bytes.end(), int64_t{0});
  const int64_t usual = std::clamp(total / 4, kFirstBucket, kLargestBucket);
  std::vector<size_t> sizes;
  int64_t filled = 0;
  for (size_t i = bytes.size(); i-- > 0;) {
    const int64_t limit = sizes.size() <= 1 ? kFirstBucket : usual;
    if (sizes.empty() || filled + bytes[i] > limit) {
      sizes.push_back(0);
      filled = 0;
    }
    ++sizes.back();
    filled += bytes[i];
  }
  return sizes;
}

// The gradients of its parameters one after the other, then for each parameter how many ranks have
// a gradient for it.
struct GradientReducer::Bucket {
  std::vector<at::Tensor> parameters;
  std::vector<at::Tensor> gradients;  // views of `values`
  at::Tensor counts;                  // another
  at::Tensor values;
  size_t missing = 0;  // gradients, before it can be sent
  std::function<void()> wait;
};

class GradientReducer::Hook : public torch::autograd::PostAccumulateGradHook {
 public:
  Hook(GradientReducer& reducer, size_t bucket) : reducer_(reducer), bucket_(bucket) {}
  void operator()(const at::Tensor&) override { reducer_.gradient_is_ready(bucket_); }

 private:
  GradientReducer& reducer_;
  size_t bucket_;
};

GradientReducer::GradientReducer(ProcessGroup& group, const std::vector<at::Tensor>& parameters)
    : group_(group) {
  if (group.size() == 1) return;
  std::vector<int64_t> bytes;
  for (const at::Tensor& parameter : parameters) {
    if (!parameter.is_leaf() || !parameter.requires_grad() ||
        parameter.dtype() != parameters[0].dtype()) {
      fail("a gradient can be summed over ranks only of leaves that require one, of one type");
    }
    bytes.push_back(static_cast<int64_t>(parameter.nbytes()));
  }
  size_t next = parameters.size();
  for (const size_t size : bucket_sizes(bytes)) {
    Bucket& bucket = buckets_.emplace_back();
    int64_t values = 0;
    for (size_t i = 0; i < size; ++i) {
      bucket.parameters.push_back(parameters[--next]);
      values += parameters[next].numel();
    }
    const auto count = static_cast<int64_t>(size);
    bucket.values = at::empty({values + count}, parameters[next].detach().options());
    int64_t begin = 0;
    for (const at::Tensor& parameter : bucket.parameters) {
      const int64_t end = begin + parameter.numel();
      bucket.gradients.push_back(bucket.values.slice(0, begin, end).view(parameter.sizes()));
      begin = end;
    }
    bucket.counts = bucket.values.slice(0, begin, begin + count);
  }
  for (size_t b = 0; b < buckets_.size(); ++b) {
    for (const at::Tensor& parameter : buckets_[b].parameters) {
      torch::autograd::impl::set_post_acc_grad_hooks(parameter, std::make_unique<Hook>(*this, b));
    }
  }
}

GradientReducer::~GradientReducer() {
  for (const Bucket& bucket : buckets_) {
    for (const at::Tensor& parameter : bucket.parameters) {
      torch::autograd::impl::set_post_acc_grad_hooks(parameter, nullptr);
    }
  }
}

size_t GradientReducer::buckets() const { return buckets_.size(); }

void GradientReducer::arm() {
  for (Bucket& bucket : buckets_) {
    bucket.missing = bucket.parameters.size();
    bucket.wait = nullptr;
  }
  sent_ = 0;
  armed_ = true;
}

void GradientReducer::gradient_is_ready(size_t bucket) {
  if (!armed_) return;
  if (buckets_[bucket].missing == 0) {
    fail("gradients changed after they were sent to the other ranks: arm() is for one backward");
  }
  --buckets_[bucket].missing;
  start_ready_buckets();
}

// In the order of the buckets, whatever the order in which they become ready: all ranks must agree.
void GradientReducer::start_ready_buckets() {
  while (sent_ < buckets_.size() && buckets_[sent_].missing == 0) start(buckets_[sent_++]);
}

void GradientReducer::start(Bucket& bucket) {
  const at::NoGradGuard guard;
  std::vector<at::Tensor> places;
  std::vector<at::Tensor> gradients;
  std::vector<float> counts;
  for (size_t i = 0; i < bucket.parameters.size(); ++i) {
    const at::Tensor& gradient = bucket.parameters[i].grad();
    const at::Tensor& place = bucket.gradients[i];
    counts.push_back(gradient.defined() ? 1 : 0);
    if (!gradient.defined()) {
      place.zero_();
    } else if (gradient.data_ptr() != place.data_ptr()) {
      places.push_back(place);
      gradients.push_back(gradient);
    }
  }
  if (!places.empty()) at::_foreach_copy_(places, gradients);
  bucket.counts.copy_(at::tensor(counts));
  bucket.wait = group_.start_sum(bucket.values);
}

void GradientReducer::finish() {
  if (!armed_ && group_.size() > 1) fail("gradients are summed over ranks without arm() before");
  armed_ = false;
  // Parameters without a gradient on this rank have held up their buckets.
  while (sent_ < buckets_.size()) start(buckets_[sent_++]);
  for (Bucket& bucket : buckets_) {
    bucket.wait();
    write_back(bucket);
  }
}

void GradientReducer::write_back(Bucket& bucket) {
  for (size_t i = 0; i < bucket.parameters.size(); ++i) {
    at::Tensor& gradient = bucket.parameters[i].mutable_grad();
    // Asked only where this rank has none: on a GPU it waits for the sum.
    if (!gradient.defined() && bucket.counts[static_cast<int64_t>(i)].item<double>() == 0) continue;
    gradient = bucket.gradients[i];
  }
}

}  // namespace yoloquant::train

#include "exec/parallel.h"

#include <ATen/TensorIterator.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>

namespace yoloquant::exec {

void parallel_for(int64_t count, int64_t grain, const std::function<void(int64_t, int64_t)>& body) {
  if (count <= 0) return;
  const at::NoGradGuard guard;
  const at::Tensor indices = at::arange(count);
  at::TensorIterator iterator = at::TensorIteratorConfig().add_const_input(indices).build();
  iterator.for_each(
      [&](char** data, const int64_t*, int64_t size, int64_t) {
        const int64_t first = *reinterpret_cast<const int64_t*>(data[0]);
        body(first, first + size);
      },
      grain);
}

}  // namespace yoloquant::exec

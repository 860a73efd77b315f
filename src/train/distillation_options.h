#pragma once

namespace yoloquant::train {

struct DistillationOptions {
  double weight = 1;  // of the sum
  double one2many = 1;
  double one2one = 1;
};

}  // namespace yoloquant::train

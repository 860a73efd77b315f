#include "base/progress.h"

namespace yoloquant {

Progress& Progress::none() {
  class Nothing : public Progress {
    void start(std::string_view, int64_t) override {}
    void update(int64_t, std::string_view) override {}
    void finish() override {}
  };
  static Nothing nothing;
  return nothing;
}

}  // namespace yoloquant

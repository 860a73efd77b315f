#include "quant/budget.h"

#include "base/error.h"

namespace yoloquant::quant {

Effort parse_effort(std::string_view name) {
  for (const Effort effort : {Effort::kFast, Effort::kNormal, Effort::kMax}) {
    if (effort_name(effort) == name) return effort;
  }
  fail_usage("unknown effort '{}': fast, normal or max", name);
}

std::string_view effort_name(Effort effort) {
  switch (effort) {
    case Effort::kFast:
      return "fast";
    case Effort::kNormal:
      return "normal";
    case Effort::kMax:
      return "max";
  }
  return "?";
}

}  // namespace yoloquant::quant

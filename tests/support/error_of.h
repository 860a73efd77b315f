#pragma once

#include <functional>
#include <string>

#include "base/error.h"

namespace yoloquant::test {

// What the Error says that `body` throws; "" when it throws none.
inline std::string error_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

}  // namespace yoloquant::test

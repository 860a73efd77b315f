#include "data/opencv.h"

#include <mutex>
#include <opencv2/core/utils/logger.hpp>

namespace yoloquant::data {

void configure_opencv() {
  static std::once_flag once;
  std::call_once(once, [] {
    cv::setNumThreads(1);
    cv::utils::logging::setLogLevel(cv::utils::logging::LOG_LEVEL_SILENT);
  });
}

}  // namespace yoloquant::data

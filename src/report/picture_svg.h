#pragma once

#include <string>

#include "data/picture.h"

namespace yoloquant::report {

// A standalone SVG file.
std::string picture_svg(const data::Picture& picture);

}  // namespace yoloquant::report

#pragma once

#include <string>

#include "pipeline/fidelity.h"

namespace yoloquant::cli {

// One line: fidelity with its interval, and what it is made of.
std::string fidelity_line(const eval::Fidelity& fidelity);

// That line and tables of the classes and images with the lowest fidelity.
std::string fidelity_text(const pipeline::FidelityResult& result);

}  // namespace yoloquant::cli

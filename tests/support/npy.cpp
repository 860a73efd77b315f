#include "support/npy.h"

#include <algorithm>
#include <cmath>
#include <regex>

#include "base/file.h"

namespace yoloquant::test {

Tensor read_npy(const std::filesystem::path& path) {
  const std::string bytes = read_file(path);
  if (bytes.substr(0, 6) != "\x93NUMPY" || bytes.find("'<f4'") == std::string::npos) {
    fail("{}: no float32 .npy file", path.string());
  }
  const auto header = static_cast<uint8_t>(bytes[8]) + 256U * static_cast<uint8_t>(bytes[9]);
  std::smatch match;
  const std::string text = bytes.substr(10, header);
  std::regex_search(text, match, std::regex(R"('shape': \(([^)]*)\))"));
  Shape shape;
  const std::string extents = match[1];
  const std::regex digits("[0-9]+");
  for (std::sregex_iterator it(extents.begin(), extents.end(), digits), end; it != end; ++it) {
    shape.push_back(std::stoll(it->str()));
  }
  return Tensor(DType::kFloat32, shape,
                std::as_bytes(std::span(bytes.data() + 10 + header, bytes.size() - 10 - header)));
}

double relative_error(const Tensor& a, const Tensor& b) {
  if (a.shape() != b.shape()) {
    fail("shapes {} and {} differ", shape_string(a.shape()), shape_string(b.shape()));
  }
  const auto x = a.data<float>();
  const auto y = b.data<float>();
  double error = 0;
  double largest = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    if (!std::isfinite(x[i])) return INFINITY;
    error = std::max(error, std::abs(static_cast<double>(x[i]) - y[i]));
    largest = std::max(largest, std::abs(static_cast<double>(y[i])));
  }
  return largest > 0 ? error / largest : error;
}

}  // namespace yoloquant::test

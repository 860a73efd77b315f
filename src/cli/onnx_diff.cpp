#include "cli/onnx_diff.h"

#include <algorithm>
#include <map>

#include "base/error.h"
#include "data/prepared_images.h"

namespace yoloquant::cli {

namespace {

constexpr int kDefaultExtent = 640;

// The image as the (only) input of the model wants it: a batch of copies where that is fixed.
Tensor as_input(const data::PreparedImage& image, const Shape& declared, int height, int width) {
  const int64_t batch = std::max<int64_t>(1, declared[0]);
  Tensor input(DType::kFloat32, {batch, 3, height, width});
  const auto values = input.mutable_data<float>();
  for (int64_t i = 0; i < batch; ++i) {
    std::copy(image.input.begin(), image.input.end(),
              values.begin() + i * static_cast<int64_t>(image.input.size()));
  }
  return input;
}

void merge(const std::vector<runtime::Difference>& more, double weight,
           std::vector<runtime::Difference>& all) {
  std::map<std::string, const runtime::Difference*> by_name;
  for (const runtime::Difference& difference : more) by_name[difference.name] = &difference;
  for (runtime::Difference& total : all) {
    const runtime::Difference& one = *by_name.at(total.name);
    total.max_abs = std::max(total.max_abs, one.max_abs);
    total.max_relative = std::max(total.max_relative, one.max_relative);
    total.mean_abs += weight * one.mean_abs;
    total.mean_relative += weight * one.mean_relative;
  }
}

void clear_figures(std::vector<runtime::Difference>& differences) {
  for (runtime::Difference& difference : differences) {
    difference.max_abs = difference.mean_abs = 0;
    difference.max_relative = difference.mean_relative = 0;
  }
}

}  // namespace

runtime::DiffReport diff_models(const std::filesystem::path& a, const std::filesystem::path& b,
                                const DiffInputs& inputs, const runtime::DiffOptions& options,
                                Progress& progress) {
  const runtime::Session session(a, options.session);
  if (inputs.images.empty()) {
    return runtime::diff(a, b, runtime::random_inputs(session, inputs.seed), options);
  }
  if (session.inputs().size() != 1 || session.inputs()[0].shape.size() != 4) {
    fail("{}: --images needs a model with one input [N, 3, H, W]", a.string());
  }
  const Shape& shape = session.inputs()[0].shape;
  data::ImageList list = data::read_image_list(inputs.images);
  list.resize(std::min(list.size(), static_cast<size_t>(inputs.max_images)));
  data::LoaderOptions loader;
  loader.input_height = shape[2] > 0 ? static_cast<int>(shape[2]) : kDefaultExtent;
  loader.input_width = shape[3] > 0 ? static_cast<int>(shape[3]) : kDefaultExtent;

  const double weight = 1.0 / static_cast<double>(list.size());
  data::PreparedImages images(std::move(list), loader);
  progress.start("comparing", static_cast<int64_t>(images.size()));
  runtime::DiffReport total;
  data::PreparedImage image;
  for (int64_t done = 0; images.next(image); progress.update(++done)) {
    const Tensor input = as_input(image, shape, loader.input_height, loader.input_width);
    const runtime::DiffReport report = runtime::diff(a, b, {input}, options);
    if (done == 0) {
      total = report;
      clear_figures(total.outputs);
      clear_figures(total.nodes);
    }
    merge(report.outputs, weight, total.outputs);
    merge(report.nodes, weight, total.nodes);
  }
  progress.finish();
  std::stable_sort(total.nodes.begin(), total.nodes.end(),
                   [](const auto& x, const auto& y) { return x.max_relative > y.max_relative; });
  return total;
}

}  // namespace yoloquant::cli

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"
#include "model/builder.h"
#include "model/model.h"

namespace yoloquant::model {

namespace {

// Reads the arguments of one row; `position` counts from 0.
class Arguments {
 public:
  explicit Arguments(const Layer& layer) : layer_(layer) {}

  int64_t integer(size_t position) const {
    if (position < layer_.arguments.size()) {
      const Argument& argument = layer_.arguments[position];
      if (const auto* value = std::get_if<int64_t>(&argument)) return *value;
      if (const auto* value = std::get_if<bool>(&argument)) return *value ? 1 : 0;
    }
    fail("argument {} of {} must be a whole number", position + 1, layer_.module);
  }
  int64_t integer(size_t position, int64_t fallback) const {
    return position < layer_.arguments.size() ? integer(position) : fallback;
  }
  bool flag(size_t position) const { return integer(position, 0) != 0; }

 private:
  const Layer& layer_;
};

// Ultralytics make_divisible(min(channels, max_channels) * width, 8).
int64_t scaled_channels(const Definition& definition, int64_t channels) {
  const double wide =
      static_cast<double>(std::min(channels, definition.max_channels)) * definition.width_multiple;
  const auto result = static_cast<int64_t>(std::ceil(wide / 8)) * 8;
  if (channels <= 0 || result > (1 << 16)) fail("{} channels", channels);
  return result;
}

// One module of a row (repeats that the module does not handle itself are the caller's).
ValueId add_module(Builder& b, const Definition& definition, const Layer& layer,
                   const std::string& name, ValueId x, int64_t inner_repeats) {
  const Arguments args(layer);
  const std::string& module = layer.module;
  if (module == "nn.Upsample" || module == "Upsample") {
    const auto* mode =
        layer.arguments.size() > 2 ? std::get_if<std::string>(&layer.arguments[2]) : nullptr;
    if (mode == nullptr || *mode != "nearest") fail("upsampling must be [null, factor, nearest]");
    const int64_t factor = args.integer(1);
    if (factor < 1 || factor > 16) fail("upsampling by {}", factor);
    return b.upsample(name, x, factor);
  }
  const int64_t out = scaled_channels(definition, args.integer(0));
  if (module == "Conv" || module == "DWConv") {
    const int64_t groups = module == "DWConv" ? std::gcd(b.channels(x), out) : args.integer(4, 1);
    return b.conv_block(
        name, x,
        {.out = out, .kernel = args.integer(1, 1), .stride = args.integer(2, 1), .groups = groups});
  }
  if (module == "C2f") return add_c2f(b, name, x, out, inner_repeats, args.flag(1));
  if (module == "C2fCIB") {
    return add_c2f_cib(b, name, x, out, inner_repeats, args.flag(1), args.flag(2));
  }
  if (module == "SCDown") return add_sc_down(b, name, x, out, args.integer(1), args.integer(2));
  if (module == "SPPF") return add_sppf(b, name, x, out, args.integer(1, 5));
  if (module == "PSA") return add_psa(b, name, x, out);
  if (module == "Bottleneck") {
    // Outside C2f the block halves its hidden width, which nothing here needs.
    fail("Bottleneck is supported inside C2f only");
  }
  fail(
      "unknown module '{}': Conv, DWConv, C2f, C2fCIB, SCDown, SPPF, PSA, nn.Upsample, Concat and "
      "v10Detect are supported",
      module);
}

bool repeats_inside(const std::string& module) { return module == "C2f" || module == "C2fCIB"; }

ValueId add_layer(Builder& b, const Definition& definition, const Layer& layer,
                  const std::string& name, const std::vector<ValueId>& inputs) {
  if (layer.module == "Concat") {
    if (Arguments(layer).integer(0, 1) != 1) fail("Concat joins channels (argument 1) only");
    return b.concat(name, inputs);
  }
  if (inputs.size() != 1) fail("{} takes one input, not {}", layer.module, inputs.size());
  if (repeats_inside(layer.module) || layer.repeats == 1) {
    return add_module(b, definition, layer, name, inputs[0], layer.repeats);
  }
  ValueId x = inputs[0];
  for (int64_t i = 0; i < layer.repeats; ++i) {
    x = add_module(b, definition, layer, fmt::format("{}.{}", name, i), x, 1);
  }
  return x;
}

}  // namespace

graph::Graph build(const Definition& definition, int64_t image_height, int64_t image_width) {
  graph::Graph graph;
  graph.metadata.description = definition.name;
  for (int64_t i = 0; i < definition.class_count; ++i) {
    graph.metadata.names[static_cast<int>(i)] = fmt::format("class{}", i);
  }
  Builder b(graph);
  const ValueId image = b.input("images", definition.input_channels, image_height, image_width);
  std::vector<ValueId> made;
  for (size_t i = 0; i < definition.layers.size(); ++i) {
    const Layer& layer = definition.layers[i];
    with_context(fmt::format("{}: layer {} ({})", definition.name, i, layer.module), [&] {
      std::vector<ValueId> inputs;
      for (const int64_t from : layer.from) inputs.push_back(from < 0 ? image : made.at(from));
      const std::string name = fmt::format("model.{}", i);
      if (layer.module == "v10Detect") {
        if (i + 1 != definition.layers.size()) fail("must be the last layer");
        add_v10_detect(b, name, inputs, definition.class_count);
        return;
      }
      made.push_back(add_layer(b, definition, layer, name, inputs));
    });
  }
  if (graph.outputs.empty()) fail("{}: the last layer must be v10Detect", definition.name);
  graph::set_input_shape(graph, graph.values[graph.inputs[0]].shape);
  graph::check(graph);
  return graph;
}

}  // namespace yoloquant::model

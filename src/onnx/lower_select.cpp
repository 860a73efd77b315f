#include "onnx/lowering.h"
#include "onnx/tensor_proto.h"

// SelectDetections in ONNX's operators. Shapes: N images, A anchor points, C classes, K detections.
// Source: THU-MIG v10postprocess. TopK puts the lower index first among equal scores.
namespace yoloquant::onnx {

namespace {

Attributes axis(int64_t value) { return {{"axis", value}}; }

class SelectLowering {
 public:
  SelectLowering(const LoweringContext& at, const graph::SelectDetections& select)
      : at_(at), builder_(at.builder), select_(select), classes_(at.input_shape(0).at(1) - 4) {}

  void run() const {
    const auto parts = builder_.add_multiple(
        "Split", name("Split"), {at_.inputs[0], builder_.ints("split", {4, classes_})}, 2, axis(1));
    const std::string& boxes = parts[0];   // [N, 4, A]
    const std::string& scores = parts[1];  // [N, C, A]
    const std::string best = best_scores(scores);
    const std::string k = detection_count(best);
    const std::string points = top_k("points", best, k)[1];                       // [N, K]
    const std::string point_scores = gather("scores", scores, points, classes_);  // [N, C, K]
    const std::string point_boxes = gather("boxes", boxes, points, 4);            // [N, 4, K]
    const std::string by_point = at_.aux("Transpose", "scores/by_point", {point_scores},
                                         {{"perm", std::vector<int64_t>{0, 2, 1}}});  // [N, K, C]
    const std::string flat =
        at_.aux("Reshape", "scores/flat", {by_point, builder_.ints("shape", {0, -1})});
    const auto chosen = top_k("detections", flat, k);  // scores and pair indices [N, K]
    const std::string class_count = builder_.int_scalar("classes", classes_);
    const std::string label = at_.aux("Mod", "class", {chosen[1], class_count});
    const std::string rank = at_.aux("Div", "rank", {chosen[1], class_count});
    const std::string box = gather("detection_boxes", point_boxes, rank, 4);  // cx, cy, w, h
    assemble(corners(box), chosen[0], label);
  }

 private:
  std::string name(const std::string& suffix) const { return at_.node.name + "/" + suffix; }

  // [N, C, A] -> [N, A]. ReduceMax takes its axes as an input from opset 18 on.
  std::string best_scores(const std::string& scores) const {
    if (builder_.opset() >= 18) {
      return at_.aux("ReduceMax", "best", {scores, builder_.ints("index", {1})},
                     {{"keepdims", int64_t{0}}});
    }
    return at_.aux("ReduceMax", "best", {scores},
                   {{"axes", std::vector<int64_t>{1}}, {"keepdims", int64_t{0}}});
  }

  // K as a vector of one: min(max_detections, A).
  std::string detection_count(const std::string& best) const {
    if (!at_.dynamic) return builder_.ints("k", {at_.output_shape(0).at(1)});
    const std::string shape = at_.aux("Shape", "Shape", {best});
    const std::string points =
        at_.aux("Gather", "points/count", {shape, builder_.ints("index", {1})});
    return at_.aux("Min", "k", {points, builder_.ints("k", {select_.max_detections})});
  }

  std::vector<std::string> top_k(const std::string& suffix, const std::string& values,
                                 const std::string& k) const {
    return builder_.add_multiple(
        "TopK", name(suffix + "/TopK"), {values, k}, 2,
        {{"axis", int64_t{1}}, {"largest", int64_t{1}}, {"sorted", int64_t{1}}});
  }

  // values [N, rows, M] at index [N, K] along the last axis: [N, rows, K].
  std::string gather(const std::string& suffix, const std::string& values, const std::string& index,
                     int64_t rows) const {
    const std::string column =
        at_.aux("Unsqueeze", suffix + "/index", {index, builder_.ints("index", {1})});
    const std::string spread =
        at_.aux("Expand", suffix + "/Expand", {column, builder_.ints("shape", {1, rows, 1})});
    return at_.aux("GatherElements", suffix + "/GatherElements", {values, spread}, axis(2));
  }

  // (cx, cy, w, h) [N, 4, K] -> (x1, y1, x2, y2) [N, 4, K].
  std::string corners(const std::string& box) const {
    const auto parts = builder_.add_multiple("Split", name("corners/Split"),
                                             {box, builder_.ints("split", {2, 2})}, 2, axis(1));
    const std::string half = at_.aux(
        "Div", "corners/half", {parts[1], builder_.float_scalar("float", 2, DType::kFloat32)});
    const std::string low = at_.aux("Sub", "corners/low", {parts[0], half});
    const std::string high = at_.aux("Add", "corners/high", {parts[0], half});
    return at_.aux("Concat", "corners", {low, high}, axis(1));
  }

  void assemble(const std::string& boxes, const std::string& scores,
                const std::string& labels) const {
    const std::string float_labels =
        at_.aux("Cast", "class/Cast", {labels}, {{"to", int64_t{onnx_type(DType::kFloat32)}}});
    const auto row = [&](const std::string& suffix, const std::string& values) {
      return at_.aux("Unsqueeze", suffix, {values, builder_.ints("index", {1})});
    };
    const std::string columns =
        at_.aux("Concat", "columns",
                {boxes, row("score_row", scores), row("class_row", float_labels)}, axis(1));
    at_.emit("Transpose", {columns}, {{"perm", std::vector<int64_t>{0, 2, 1}}});
  }

  const LoweringContext& at_;
  ModelBuilder& builder_;
  const graph::SelectDetections& select_;
  int64_t classes_;
};

}  // namespace

void lower_select(const LoweringContext& context, const graph::SelectDetections& select) {
  SelectLowering(context, select).run();
}

}  // namespace yoloquant::onnx

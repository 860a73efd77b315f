// Builds YOLOv10n for three classes, makes it ready for inference and writes it as ONNX.
//   cpp_user OUT.onnx
#include <iostream>

#include "base/error.h"
#include "graph/passes.h"
#include "model/definition.h"
#include "model/model.h"
#include "onnx/check.h"
#include "onnx/writer.h"

namespace yq = yoloquant;

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: cpp_user OUT.onnx\n";
    return 2;
  }
  try {
    const auto definition = yq::model::load_definition("yolov10n.yaml", /*class_count=*/3);
    yq::graph::Graph graph = yq::model::build(definition, 320, 320);
    yq::model::initialize(graph, /*seed=*/1);

    graph = yq::graph::for_inference(graph, yq::graph::Head::kOneToMany);
    yq::onnx::write(graph, argv[1]);

    const auto report = yq::onnx::check(argv[1]);
    std::cout << argv[1] << ": " << report.node_count << " nodes, " << report.op_counts.at("Conv")
              << " convolutions, " << report.file_bytes << " bytes\n";
    for (const auto& problem : report.problems) std::cerr << problem << '\n';
    return report.ok() ? 0 : 1;
  } catch (const yq::Error& error) {
    std::cerr << "cpp_user: " << error.what() << '\n';
    return error.exit_status();
  }
}

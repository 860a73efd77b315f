#include "program.h"

#include <sys/wait.h>

#include <cstdlib>
#include <regex>

#include "base/file.h"
#include "data/shapes.h"
#include "support/shared_data.h"

namespace yoloquant::test {

std::filesystem::path yoloquant_program() { return build_folder() / "bin" / "yoloquant"; }

Outcome yoloquant(const std::string& arguments, const std::filesystem::path& folder) {
  const TemporaryFolder texts;
  const std::string command = "cd '" + folder.string() + "' && '" + yoloquant_program().string() +
                              "' " + arguments + " >'" + (texts / "out").string() + "' 2>'" +
                              (texts / "err").string() + "'";
  const int status = std::system(command.c_str());
  Outcome outcome;
  outcome.status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  outcome.out = read_file(texts / "out");
  outcome.err = read_file(texts / "err");
  return outcome;
}

const TinyExample& tiny_example() {
  static TinyExample example;
  if (!example.coco.empty()) return example;
  data::ShapesOptions shapes;
  shapes.train_images = shapes.val_images = 6;
  shapes.width = shapes.height = 64;
  example.coco = example.folder / "coco";
  data::write_shapes(example.coco, shapes);

  std::string yaml = read_file(source_folder() / "definitions/yolov10n.yaml");
  yaml = std::regex_replace(yaml, std::regex("nc: 80"), "nc: 6");
  yaml = std::regex_replace(yaml, std::regex("n: \\[0.33, 0.25, 1024\\]"), "n: [0.33, 0.125, 256]");
  example.model = example.folder / "tiny.yaml";
  write_file(example.model, yaml);
  return example;
}

}  // namespace yoloquant::test

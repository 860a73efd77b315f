#include "training.h"

#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <thread>

namespace yoloquant::test {

namespace fs = std::filesystem;

std::string train_arguments(const std::string& out) {
  const TinyExample& tiny = tiny_example();
  return "train '" + tiny.model.string() + "' --coco '" + tiny.coco.string() +
         "' --imgsz 64 --epochs 4 --batch 2 --nbs 4 --warmup-epochs 1 --close-mosaic 1 "
         "--device cpu --threads 1 --workers 1 --out " +
         out;
}

int disturbed_training(const std::string& arguments, const fs::path& folder,
                       const std::function<void(int)>& action) {
  const std::string command =
      "exec '" + yoloquant_program().string() + "' " + arguments + " >out 2>err";
  const pid_t child = fork();
  if (child == 0) {
    if (chdir(folder.c_str()) != 0) _exit(1);
    execl("/bin/sh", "sh", "-c", command.c_str(), nullptr);
    _exit(1);
  }
  int status = 0;
  while (!fs::exists(folder / "run/results.csv")) {
    if (waitpid(child, &status, WNOHANG) == child) return status;  // it has failed
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  action(child);
  waitpid(child, &status, 0);
  return status;
}

checkpoint::Checkpoint last_of(const fs::path& run) {
  return checkpoint::read(run / "weights/last.pt", {.limits = {}, .both_entries = true});
}

}  // namespace yoloquant::test

#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "support/shared_data.h"

namespace yoloquant::checkpoint::test {

// Runs a script with Python and torch in `folder`; its output goes into *output. The script finds
// `stubs.py` there, which makes any ultralytics class a bare torch.nn.Module on demand.
inline int run_python(const std::filesystem::path& folder, const std::string& script,
                      std::string* output) {
  std::ofstream(folder / "stubs.py") << R"(
import importlib.abc, importlib.machinery, sys, types, torch

class Stubs(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name, path, target=None):
        if name.split(".")[0] == "ultralytics":
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
    def create_module(self, spec):
        module = types.ModuleType(spec.name)
        def make(name):
            if name.startswith("__"):
                raise AttributeError(name)
            bases = (object,) if ".utils" in spec.name else (torch.nn.Module,)
            setattr(module, name, type(name, bases, {"__module__": spec.name}))
            return module.__dict__[name]
        module.__getattr__ = make
        return module
    def exec_module(self, module):
        pass

sys.meta_path.insert(0, Stubs())
)";
  std::ofstream(folder / "script.py") << script;
  return yoloquant::test::run_command("cd '" + folder.string() + "' && OMP_NUM_THREADS=1 '" +
                                          yoloquant::test::python() + "' script.py",
                                      output);
}

}  // namespace yoloquant::checkpoint::test

// Skips the running test without Python and torch.
#define YQ_REQUIRE_PYTHON() \
  if (yoloquant::test::python().empty()) GTEST_SKIP() << "needs Python: run scripts/setup.sh"

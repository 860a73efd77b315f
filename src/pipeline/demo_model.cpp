#include "pipeline/demo_model.h"

// The assembler copies the file into the object: two megabytes would be slow as C++ text.
asm(".pushsection .rodata\n"
    ".balign 16\n"
    ".global yoloquant_demo_model\n"
    "yoloquant_demo_model:\n"
    ".incbin \"" YOLOQUANT_DEMO_MODEL
    "\"\n"
    ".global yoloquant_demo_model_end\n"
    "yoloquant_demo_model_end:\n"
    ".byte 0\n"
    ".popsection\n");

extern "C" {
extern const char kDemoModel[] asm("yoloquant_demo_model") __attribute__((visibility("hidden")));
extern const char kDemoModelEnd[] asm("yoloquant_demo_model_end")
    __attribute__((visibility("hidden")));
}

namespace yoloquant::pipeline {

std::string_view demo_model() {
  return {kDemoModel, static_cast<size_t>(kDemoModelEnd - kDemoModel)};
}

}  // namespace yoloquant::pipeline

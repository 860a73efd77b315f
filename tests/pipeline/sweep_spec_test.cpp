#include "pipeline/sweep_spec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/error_of.h"

namespace yoloquant::pipeline {
namespace {

using test::error_of;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr const char* kSweep = R"(
command: train
options: {model: yolov10n.yaml, epochs: 20, layers: [{match: "model.0.*", weight_bits: 8}]}
grid:
  scheme: [w4a16, w4a8]
  lr0: [0.01, 0.003, 1e-3]
stages:
  - options: {epochs: 2}
  - options: {model: yolov10s.yaml}
    keep: 2
)";

std::string message(const std::string& yaml) {
  return error_of([&] { parse_sweep(yaml, "sweep.yaml"); });
}

TEST(SweepSpec, CellsAreTheProductOfTheGrid) {
  const auto cells = sweep_cells(parse_sweep(kSweep, "sweep.yaml"));
  std::vector<std::string> names;
  for (const SweepCell& cell : cells) names.push_back(cell.name);
  EXPECT_THAT(
      names, ElementsAre("scheme=w4a16,lr0=0.01", "scheme=w4a16,lr0=0.003", "scheme=w4a16,lr0=1e-3",
                         "scheme=w4a8,lr0=0.01", "scheme=w4a8,lr0=0.003", "scheme=w4a8,lr0=1e-3"));
}

TEST(SweepSpec, StagesAndCellsOverrideOptions) {
  const SweepSpec spec = parse_sweep(kSweep, "sweep.yaml");
  ASSERT_EQ(spec.stages.size(), 2U);
  EXPECT_EQ(spec.stages[1].keep, 2);
  const auto cells = sweep_cells(spec);
  EXPECT_EQ(cell_config(spec, spec.stages[1], cells[4]),
            "model: yolov10s.yaml\nepochs: 20\nlayers: [{match: model.0.*, weight_bits: 8}]\n"
            "scheme: w4a8\nlr0: 0.003\n");
  EXPECT_THAT(cell_config(spec, spec.stages[0], cells[0]),
              AllOf(HasSubstr("epochs: 2\n"), HasSubstr("model: yolov10n.yaml\n")));
}

TEST(SweepSpec, CasesAreOptionsThatChangeTogether) {
  const SweepSpec spec = parse_sweep(
      "{command: train, options: {a: 0, b: 0}, cases: {plain: {}, both: {a: 1, b: 2}}, "
      "grid: {seed: [3, 4]}}",
      "s");
  EXPECT_THAT(choice_names(spec), ElementsAre("case", "seed"));
  const auto cells = sweep_cells(spec);
  ASSERT_EQ(cells.size(), 4U);
  EXPECT_EQ(cells[0].name, "plain,seed=3");
  EXPECT_EQ(cells[3].name, "both,seed=4");
  EXPECT_EQ(cell_config(spec, spec.stages[0], cells[0]), "a: 0\nb: 0\nseed: 3\n");
  EXPECT_EQ(cell_config(spec, spec.stages[0], cells[3]), "a: 1\nb: 2\nseed: 4\n");
  EXPECT_EQ(sweep_cells(parse_sweep("{command: run, cases: {x: {}}}", "s")).size(), 1U);
}

TEST(SweepSpec, NamesFitForFoldersAreUnique) {
  const auto cells =
      sweep_cells(parse_sweep("{command: run, grid: {model: [a/b.pt, 'a b.pt', a_b.pt]}}", "s"));
  EXPECT_EQ(cells[0].name, "model=a_b.pt");
  EXPECT_EQ(cells[1].name, "model=a_b.pt,1");
  EXPECT_EQ(cells[2].name, "model=a_b.pt,2");
  const std::string longer(300, 'x');
  EXPECT_LT(sweep_cells(parse_sweep("{command: run, grid: {model: [" + longer + "]}}", "s"))[0]
                .name.size(),
            120U);
}

TEST(SweepSpec, WhatMakesNoSenseIsNamed) {
  EXPECT_THAT(message("{command: export, grid: {a: [1]}}"),
              AllOf(HasSubstr("sweep.yaml: line 1"), HasSubstr("train, qat or run")));
  EXPECT_THAT(message("{command: train}"), HasSubstr("'grid' and 'cases' are missing"));
  EXPECT_THAT(message("{grid: {a: [1]}}"), HasSubstr("'command' is missing"));
  EXPECT_THAT(message("{command: train, grids: {a: [1]}}"), HasSubstr("did you mean 'grid'"));
  EXPECT_THAT(message("{command: train, grid: {a: 1}}"), HasSubstr("'a' needs a list"));
  EXPECT_THAT(message("{command: train, grid: {a: [1, 1]}}"), HasSubstr("twice"));
  EXPECT_THAT(message("{command: train, grid: {out: [x]}}"), HasSubstr("set by the sweep"));
  EXPECT_THAT(message("{command: train, grid: {a: [1]}, stages: [{keep: 1}]}"),
              HasSubstr("first stage"));
  EXPECT_THAT(message("{command: train, grid: {a: [1]}, stages: [{}, {keep: no}]}"),
              HasSubstr("number of cells"));
  EXPECT_THAT(message("{command: train, grid: {a: [1]"), HasSubstr("sweep.yaml: line"));
  EXPECT_THAT(message("{command: train, cases: {a: 1}}"), HasSubstr("'a case' needs options"));
  EXPECT_THAT(message("{command: train, cases: {a: {out: x}}}"), HasSubstr("set by the sweep"));
  EXPECT_THAT(message("- a"), HasSubstr("no sweep"));
  std::string many = "{command: train, grid: {";
  for (char c = 'a'; c < 'f'; ++c) many += std::string(1, c) + ": [0, 1, 2, 3, 4, 5, 6, 7, 8, 9], ";
  EXPECT_THAT(message(many + "}}"), HasSubstr("more than 10000 cells"));
}

}  // namespace
}  // namespace yoloquant::pipeline

// Files that the real torch writes, read here.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/python_script.h"
#include "checkpoint/torch_archive.h"
#include "checkpoint/value_text.h"
#include "support/error_of.h"
#include "support/temporary_folder.h"

namespace yoloquant::checkpoint {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

using yoloquant::test::TemporaryFolder;

constexpr const char* kScript = R"(
import argparse, collections, os, pathlib, pickle, zipfile
import numpy, torch

values = {
    "none": None, "bools": (True, False), "ints": [0, 255, 65536, -1, 2**40, -2**63],
    "big": 2**70, "float": 0.1, "text": "caf\u00e9", "bytes": b"\xff\x01", "set": {3},
    "frozen": frozenset([4]), "nested": {"a": [{"b": ()}]},
    "ordered": collections.OrderedDict(x=1), "default": collections.defaultdict(list, {"k": [1]}),
    "path": pathlib.PurePosixPath("/a/b.pt"), "numpy": numpy.float64(1.5),
    "namespace": argparse.Namespace(lr=0.1), "size": torch.Size([2, 3]),
    "device": torch.device("cuda", 1), "dtype": torch.float16,
}
for protocol in range(2, 6):
    torch.save(values, f"values{protocol}.pt", pickle_protocol=protocol)

base = torch.arange(12, dtype=torch.float32).reshape(3, 4)
tensors = {str(d).split(".")[1]: torch.tensor([0, 1, 2]).to(d) for d in (
    torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.int8, torch.uint8,
    torch.int16, torch.int32, torch.int64, torch.bool)}
tensors.update(
    base=base, transposed=base.t(), column=base[:, 1], tail=base[1:, 2:], scalar=base[2, 3],
    expanded=torch.tensor([5.0]).expand(4), empty=torch.empty(0, 3), last=base.permute(1, 0)[None],
    parameter=torch.nn.Parameter(torch.ones(2)))
for protocol in (2, 5):
    torch.save(tensors, f"tensors{protocol}.pt", pickle_protocol=protocol)

torch.save(tensors, "legacy.pt", _use_new_zipfile_serialization=False)
torch.save({"a": torch.ones(1, dtype=torch.complex64)}, "complex.pt")
torch.serialization.set_crc32_options(False)
torch.save(tensors, "no_crc.pt")
torch.serialization.set_crc32_options(True)

# ZIP64 as another writer lays it out, and compressed records.
for name, kwargs in (("zip64.pt", {}), ("deflated.pt", {"compression": zipfile.ZIP_DEFLATED})):
    with zipfile.ZipFile("tensors2.pt") as source, zipfile.ZipFile(name, "w", **kwargs) as target:
        for entry in source.namelist():
            with target.open(entry, "w", force_zip64=True) as record:
                record.write(source.read(entry))

class Block(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(1, 2, 1, bias=False)
        self.bn = torch.nn.BatchNorm2d(2)
        self.register_buffer("kept", torch.tensor([7], dtype=torch.int32))
        self.register_buffer("scratch", torch.zeros(3), persistent=False)
        self.register_buffer("nothing", None)
        self.parents = []

block = Block()
block.parents.append(block)                       # refers to itself
block.add_module("twin", block.conv)              # a shared module
block.add_module("none", None)
model = torch.nn.Sequential(block, torch.nn.SiLU())
model[0].parents.append(model)
model.names = {0: "cat", 1: "dog"}
model.stride = torch.tensor([8.0, 16.0])
model.yaml = {"nc": 2, "head": [[-1, 1, "Detect", ["nc"]]]}
torch.save({"epoch": 4, "model": model, "ema": None, "train_args": {"lr0": 0.01}}, "module.pt")
torch.save(model, "bare_module.pt")
with open("module_keys.txt", "w") as f:
    f.write("\n".join(model.state_dict()))

ema = {k: v + 1 for k, v in model.state_dict().items()}
torch.save({"epoch": 1, "model_state_dict": model.state_dict(), "ema_state_dict": ema,
            "optimizer": {"state": {0: {"momentum_buffer": torch.ones(2)}}, "param_groups": []},
            "train_args": {"a": 1}, "date": "today", "names": ["cat", "dog"], "best": 0.5}, "dict.pt")
torch.save(collections.OrderedDict(("module." + k, v) for k, v in ema.items()), "state.pt")

class Evil:
    def __reduce__(self):
        return os.system, ("touch made",)
torch.save({"model": Evil(), "state_dict": {"w": torch.ones(1)}, "more": [Evil()]}, "evil.pt")
)";

// The script runs once for all tests.
class PythonWrites : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    if (yoloquant::test::python().empty()) return;
    folder_ = std::make_unique<TemporaryFolder>();
    status_ = test::run_python(folder_->path(), kScript, &output_);
  }
  static void TearDownTestSuite() { folder_.reset(); }
  void SetUp() override {
    YQ_REQUIRE_PYTHON();
    ASSERT_EQ(status_, 0) << output_;
  }
  static std::filesystem::path file(const std::string& name) { return *folder_ / name; }
  static std::string error_of(const std::string& name) {
    return yoloquant::test::error_of([&] {
      Value value = read_torch_file(file(name));
      load_tensors(value);
    });
  }

  static void plain_values_in_all_protocols();
  static void tensors();
  static void what_is_not_supported_says_so();
  static void module_trees();
  static void plain_dicts();
  static void bare_state_dicts();
  static void malicious_objects_stay_inert();

  static std::unique_ptr<TemporaryFolder> folder_;
  static int status_;
  static std::string output_;
};

std::unique_ptr<TemporaryFolder> PythonWrites::folder_;
int PythonWrites::status_ = -1;
std::string PythonWrites::output_;

std::vector<float> floats(const Value& dict, std::string_view name) {
  const Tensor tensor = dict.find(name)->tensor().to_float32();
  return {tensor.data<float>().begin(), tensor.data<float>().end()};
}

void PythonWrites::plain_values_in_all_protocols() {
  for (int protocol = 2; protocol <= 5; ++protocol) {
    const Value values = read_torch_file(file("values" + std::to_string(protocol) + ".pt"));
    EXPECT_EQ(to_json(values),
              R"({"none": null, "bools": [true, false], )"
              R"("ints": [0, 255, 65536, -1, 1099511627776, -9223372036854775808], )"
              R"("big": 1180591620717411303424, "float": 0.1, "text": "café", )"
              R"("bytes": "<2 bytes>", "set": [3], "frozen": [4], "nested": {"a": [{"b": []}]}, )"
              R"("ordered": {"x": 1}, "default": {"k": [1]}, "path": "/a/b.pt", "numpy": 1.5, )"
              R"("namespace": {"lr": 0.1}, "size": [2, 3], "device": "cuda:1", )"
              R"("dtype": "torch.float16"})")
        << "protocol " << protocol;
    EXPECT_EQ(values.find("bytes")->as_bytes(), "\xFF\x01");
  }
}

void PythonWrites::tensors() {
  for (const std::string name : {"tensors2.pt", "tensors5.pt", "no_crc.pt", "zip64.pt"}) {
    const Value tensors = read_torch_file(file(name));
    for (const auto dtype :
         {DType::kFloat32, DType::kFloat16, DType::kBFloat16, DType::kFloat64, DType::kInt8,
          DType::kUInt8, DType::kInt16, DType::kInt32, DType::kInt64, DType::kBool}) {
      const Value* value = tensors.find(dtype_name(dtype));
      ASSERT_NE(value, nullptr) << dtype_name(dtype);
      EXPECT_EQ(value->tensor_view().dtype(), dtype);
      EXPECT_THAT(floats(tensors, dtype_name(dtype)),
                  ElementsAre(0, 1, dtype == DType::kBool ? 1 : 2));
    }
    EXPECT_THAT(floats(tensors, "transposed"), ElementsAre(0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11));
    EXPECT_EQ(tensors.find("transposed")->tensor_view().shape(), (Shape{4, 3}));
    EXPECT_THAT(floats(tensors, "column"), ElementsAre(1, 5, 9));
    EXPECT_THAT(floats(tensors, "tail"), ElementsAre(6, 7, 10, 11));
    EXPECT_THAT(floats(tensors, "scalar"), ElementsAre(11));
    EXPECT_EQ(tensors.find("scalar")->tensor_view().shape(), Shape{});
    EXPECT_THAT(floats(tensors, "expanded"), ElementsAre(5, 5, 5, 5));
    EXPECT_EQ(tensors.find("empty")->tensor().shape(), (Shape{0, 3}));
    EXPECT_EQ(tensors.find("last")->tensor().shape(), (Shape{1, 4, 3}));
    EXPECT_THAT(floats(tensors, "parameter"), ElementsAre(1, 1));
  }
}

void PythonWrites::what_is_not_supported_says_so() {
  EXPECT_THAT(error_of("legacy.pt"), HasSubstr("torch before 1.6"));
  EXPECT_THAT(error_of("complex.pt"), HasSubstr("not supported"));
  EXPECT_THAT(error_of("deflated.pt"), HasSubstr("is compressed"));
}

void PythonWrites::module_trees() {
  std::string keys;
  const Checkpoint checkpoint = read(file("module.pt"));
  for (const std::string& name : checkpoint.order) keys += (keys.empty() ? "" : "\n") + name;
  EXPECT_EQ(keys, read_file(file("module_keys.txt")));
  EXPECT_EQ(checkpoint.state.at("0.kept").dtype(), DType::kInt32);
  EXPECT_FALSE(checkpoint.state.contains("0.scratch"));
  EXPECT_TRUE(equal(checkpoint.state.at("0.conv.weight"), checkpoint.state.at("0.twin.weight")));
  EXPECT_EQ(checkpoint.names.at(1), "dog");
  EXPECT_THAT(checkpoint.stride, ElementsAre(8, 16));
  EXPECT_EQ(checkpoint.class_count(), 2);
  EXPECT_EQ(to_yaml(checkpoint.yaml), "nc: 2\nhead:\n  - [-1, 1, Detect, [nc]]\n");
  EXPECT_EQ(checkpoint.epoch, 4);
  EXPECT_EQ(checkpoint.entry, "model");
  EXPECT_EQ(checkpoint.source, Source::kUltralyticsModule);
  EXPECT_EQ(read(file("bare_module.pt")).order, checkpoint.order);
}

void PythonWrites::plain_dicts() {
  ReadOptions options;
  options.both_entries = true;
  const Checkpoint checkpoint = read(file("dict.pt"), options);
  EXPECT_EQ(checkpoint.source, Source::kPlainDict);
  EXPECT_EQ(checkpoint.entry, "ema_state_dict");
  EXPECT_EQ(checkpoint.state.at("0.kept").data<int32_t>()[0], 8);
  EXPECT_EQ(checkpoint.raw_state.at("0.kept").data<int32_t>()[0], 7);
  EXPECT_EQ(checkpoint.date, "today");
  EXPECT_EQ(checkpoint.names.at(0), "cat");
  EXPECT_EQ(checkpoint.extras.find("best")->as_float(), 0.5);
  EXPECT_TRUE(checkpoint.optimizer.find("state")
                  ->entries()[0]
                  .second.find("momentum_buffer")
                  ->tensor_view()
                  .is_loaded());
  EXPECT_TRUE(read(file("dict.pt")).raw_state.empty());
}

void PythonWrites::bare_state_dicts() {
  const Checkpoint checkpoint = read(file("state.pt"));
  EXPECT_EQ(checkpoint.source, Source::kStateDict);
  EXPECT_EQ(checkpoint.order, read(file("module.pt")).order);
}

void PythonWrites::malicious_objects_stay_inert() {
  const Checkpoint checkpoint = read(file("evil.pt"));
  EXPECT_EQ(checkpoint.entry, "state_dict");
  EXPECT_EQ(to_json(*checkpoint.extras.find("more")), R"(["posix.system"])");
  EXPECT_FALSE(std::filesystem::exists(file("made")));
}

// Few tests, since each is a process of its own that has to run the script.
TEST_F(PythonWrites, ValuesAndTensors) {
  plain_values_in_all_protocols();
  tensors();
  what_is_not_supported_says_so();
}

TEST_F(PythonWrites, Checkpoints) {
  module_trees();
  plain_dicts();
  bare_state_dicts();
  malicious_objects_stay_inert();
}

}  // namespace
}  // namespace yoloquant::checkpoint

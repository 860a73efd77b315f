// Files that we write, read by the real torch.
#include <gtest/gtest.h>

#include "base/file.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/python_script.h"
#include "checkpoint/torch_archive.h"
#include "support/shared_data.h"
#include "support/temporary_folder.h"

namespace yoloquant::checkpoint {
namespace {

using yoloquant::test::shared_data;
using yoloquant::test::TemporaryFolder;

Value all_kinds() {
  const Tensor shared = Tensor::from<float>({2, 2}, std::vector<float>{1, 2, 3, 4});
  const Value same = shared;
  return Value::dict({{"none", {}},
                      {"bools", Value::tuple({true, false})},
                      {"ints", Value::list({0, 255, 256, -1, int64_t{1} << 40, INT64_MIN})},
                      {"big", Value(BigInt{"1180591620717411303424"})},
                      {"float", 0.1},
                      {"text", "caf\xC3\xA9"},
                      {"bytes", Value(Bytes{std::string("\xFF\x00z", 3)})},
                      {"set", Value::set({1, 2})},
                      {"empty", Value::list({Value::tuple(), Value::list(), Value::dict()})},
                      {"dtype", Value(Global{"torch", "float16"})},
                      {"ordered", Value::ordered_dict({{3, "x"}, {1, "y"}})},
                      {"a", same},
                      {"b", same},
                      {"c", shared},
                      {"half", shared.to(DType::kFloat16)},
                      {"bfloat16", shared.to(DType::kBFloat16)},
                      {"double", shared.to(DType::kFloat64)},
                      {"int8", Tensor::from<int8_t>({2}, std::vector<int8_t>{-1, 5})},
                      {"bool", Tensor(DType::kBool, {3})},
                      {"scalar", Tensor::scalar(2.5F)},
                      {"nothing", Tensor(DType::kFloat32, {0, 3})}});
}

TEST(PythonReads, ValuesOfAllKinds) {
  YQ_REQUIRE_PYTHON();
  TemporaryFolder folder;
  write_torch_file(folder / "plain.pt", all_kinds());
  write_torch_file(folder / "zip64.pt", all_kinds(), ZipWriter::Zip64::kAlways);
  std::string output;
  const int status = test::run_python(folder.path(), R"(
import collections, torch, zipfile
for name in ("plain.pt", "zip64.pt"):
    assert zipfile.ZipFile(name).testzip() is None
    v = torch.load(name, weights_only=True)
    assert v["none"] is None and v["bools"] == (True, False)
    assert v["ints"] == [0, 255, 256, -1, 2**40, -2**63] and v["big"] == 2**70
    assert v["float"] == 0.1 and v["text"] == "caf\u00e9" and v["bytes"] == b"\xff\x00z"
    assert v["set"] == {1, 2} and v["empty"] == [(), [], {}] and v["dtype"] is torch.float16
    assert v["ordered"] == collections.OrderedDict([(3, "x"), (1, "y")])
    assert v["a"].tolist() == v["c"].tolist() == [[1, 2], [3, 4]]
    assert v["a"].data_ptr() == v["b"].data_ptr() != v["c"].data_ptr()
    for key in ("half", "bfloat16", "double"):
        assert v[key].dtype is getattr(torch, key) and v[key].tolist() == [[1, 2], [3, 4]]
    assert v["int8"].tolist() == [-1, 5] and v["int8"].dtype is torch.int8
    assert v["bool"].tolist() == [False] * 3
    assert v["scalar"].item() == 2.5 and v["scalar"].shape == ()
    assert v["nothing"].shape == (0, 3)
    torch.load(name, weights_only=True, mmap=True)
)",
                                      &output);
  EXPECT_EQ(status, 0) << output;
}

// What torch gets back from our files is what it gets from the originals: names, order, shapes,
// types and values of the state dict, so that it loads into the model without missing keys.
TEST(PythonReads, ConvertedCheckpoints) {
  YQ_REQUIRE_PYTHON();
  YQ_REQUIRE_SHARED();
  TemporaryFolder folder;
  const auto weights = shared_data() / "weights";
  for (const std::string name : {"yolov10n", "yolov10n_ultralytics84", "tiny_training_state"}) {
    const Checkpoint checkpoint = read(weights / (name + ".pt"));
    write(folder / (name + ".pt"), checkpoint);
    write(folder / (name + ".safetensors"), checkpoint);
  }
  std::string output;
  const int status = test::run_python(folder.path(), "WEIGHTS = '" + weights.string() + "'\n" + R"(
import json, struct, stubs, torch

def same(a, b):
    assert list(a) == list(b) and len(a) == 595
    for key in a:
        assert a[key].dtype is b[key].dtype and torch.equal(a[key], b[key]), key

def equal_data(a, b):
    if isinstance(a, torch.Tensor):
        return a.dtype is b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return list(a) == list(b) and all(equal_data(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return type(a) is type(b) and len(a) == len(b) and all(map(equal_data, a, b))
    return a == b and type(a) is type(b)

def read_safetensors(path):
    data = open(path, "rb").read()
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:8 + size])
    types = {"F16": torch.float16, "F32": torch.float32, "I64": torch.int64}
    tensors = {}
    meta = header.pop("__metadata__")
    end = 0
    for name, record in header.items():
        begin, stop = record["data_offsets"]
        assert begin == end and begin % types[record["dtype"]].itemsize == 0 and size % 8 == 0
        end = stop
        raw = bytearray(data[8 + size + begin:8 + size + stop])
        tensors[name] = torch.frombuffer(raw, dtype=types[record["dtype"]]).reshape(record["shape"])
    assert 8 + size + end == len(data)
    return tensors, meta

for name in ("yolov10n", "yolov10n_ultralytics84", "tiny_training_state"):
    original = torch.load(f"{WEIGHTS}/{name}.pt", weights_only=False)
    ours = torch.load(f"{name}.pt", weights_only=True)
    module = original["ema"] or original["model"]
    state = module.state_dict()
    same(ours["model_state_dict"], state)
    if original["ema"] is not None:
        same(ours["ema_state_dict"], state)
    else:
        assert ours["ema_state_dict"] is None
    missing, unexpected = module.load_state_dict(ours["model_state_dict"])
    assert not missing and not unexpected
    for key in ("epoch", "optimizer", "train_args", "date", "version"):
        assert equal_data(original[key], ours[key]), key
    assert ours["names"] == module.names and ours["yaml"] == module.yaml
    assert ours["stride"] == module.stride.tolist() and ours["nc"] == len(module.names)
    tensors, meta = read_safetensors(f"{name}.safetensors")
    same({k: tensors[k] for k in state}, state)
    assert {int(k): v for k, v in json.loads(meta["names"]).items()} == module.names
    assert json.loads(meta["yaml"]) == json.loads(json.dumps(module.yaml))
)",
                                      &output);
  EXPECT_EQ(status, 0) << output;
}

// An optimizer that we store continues in torch.
TEST(PythonReads, OptimizerState) {
  YQ_REQUIRE_PYTHON();
  TemporaryFolder folder;
  const Tensor buffer = Tensor::from<float>({2}, std::vector<float>{1, 2});
  const Value group = Value::dict({{"lr", 0.1},
                                   {"momentum", 0.9},
                                   {"dampening", 0},
                                   {"weight_decay", 0},
                                   {"nesterov", true},
                                   {"maximize", false},
                                   {"foreach", {}},
                                   {"differentiable", false},
                                   {"fused", {}},
                                   {"params", Value::list({0})}});
  Checkpoint checkpoint;
  checkpoint.state["w"] = buffer;
  checkpoint.optimizer =
      Value::dict({{"state", Value::dict({{0, Value::dict({{"momentum_buffer", buffer}})}})},
                   {"param_groups", Value::list({group})}});
  write(folder / "a.pt", checkpoint);
  std::string output;
  const int status = test::run_python(folder.path(), R"(
import torch
saved = torch.load("a.pt", weights_only=True)
w = torch.nn.Parameter(saved["model_state_dict"]["w"])
optimizer = torch.optim.SGD([w], lr=1.0, momentum=0.5, nesterov=True)
optimizer.load_state_dict(saved["optimizer"])
w.grad = torch.zeros(2)
optimizer.step()
assert torch.allclose(w, torch.tensor([1.0, 2.0]) - 0.1 * 0.9 * 0.9 * torch.tensor([1.0, 2.0])), w
)",
                                      &output);
  EXPECT_EQ(status, 0) << output;
}

}  // namespace
}  // namespace yoloquant::checkpoint

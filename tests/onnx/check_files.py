"""ONNX's own verdict on every file of a folder: checker and strict shape inference."""
import pathlib
import sys

import onnx

for path in sorted(pathlib.Path(sys.argv[1]).glob("*.onnx")):
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    inferred = onnx.shape_inference.infer_shapes(
        model, check_type=True, strict_mode=True, data_prop=True
    )
    stored = {initializer.name for initializer in model.graph.initializer}
    assert not stored & {i.name for i in model.graph.input}, f"{path}: initializers as inputs"
    for tensor in model.graph.initializer:
        assert tensor.HasField("raw_data"), f"{path}: {tensor.name} is not raw"
    known = {v.name for v in inferred.graph.value_info} | stored
    for node in model.graph.node:
        for output in node.output:
            outputs = {o.name for o in model.graph.output}
            assert not output or output in known | outputs, f"{path}: no shape for {output}"
    print(path.name, "ok")

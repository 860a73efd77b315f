#!/usr/bin/env python3
"""W8A8 calibration: ours against ONNX Runtime's quantizer, NNCF and Brevitas, each as a process.

Every side reads and letterboxes the same images, calibrates the inputs of all convs and, but for
Brevitas, writes the quantized model. The sides take turns; printed are medians of wall seconds, CPU
seconds and peak memory, with ratios to ours. Ours is the whole command, from checkpoint to QCDQ
file, with the means of extremes as ranges, as the others have them, and with ranges chosen by layer (the
default); its comparison with ONNX Runtime is left out, as the others have none.

    scripts/bench.sh calibration --model yolov10n.pt --images calib100.txt \\
        [--ours build/release/bin/yoloquant] [--ort PYTHON] [--nncf PYTHON] [--brevitas PYTHON]

Peers are Pythons of their own environments, with opencv-python-headless and
  --ort       onnxruntime onnx sympy
  --nncf      nncf openvino
  --brevitas  torch brevitas onnx onnx2torch
Each gets the float model as the ONNX file that ours exports.
"""
import argparse
import os
import tempfile

from common import BREVITAS_START, PEER_START, export_baseline, image_list, measure, print_ratios

ORT = PEER_START + """
from onnxruntime.quantization import (CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType,
                                      quantize_static)


class Reader(CalibrationDataReader):
    def __init__(self):
        self.rest = iter(paths)

    def get_next(self):
        path = next(self.rest, None)
        return None if path is None else {"images": letterbox(path)}


quantize_static(model, out, Reader(), quant_format=QuantFormat.QDQ, op_types_to_quantize=["Conv"],
                per_channel=True, weight_type=QuantType.QInt8, activation_type=QuantType.QUInt8,
                calibrate_method=CalibrationMethod.MinMax)
"""
NNCF = PEER_START + """
import nncf
import openvino
core = openvino.Core()
core.set_property("CPU", {"INFERENCE_NUM_THREADS": threads})
data = nncf.Dataset(paths, letterbox)
quantized = nncf.quantize(core.read_model(model), data, subset_size=count)
openvino.save_model(quantized, out)
"""
BREVITAS = BREVITAS_START + """
from brevitas.graph.calibrate import calibration_mode
from brevitas.quant import Int8WeightPerChannelFloat, ShiftedUint8ActPerTensorFloat
net = layerwise_quantize(net, compute_layer_map={torch.nn.Conv2d: (qnn.QuantConv2d, dict(
    weight_quant=Int8WeightPerChannelFloat, input_quant=ShiftedUint8ActPerTensorFloat,
    return_quant_tensor=False))})
with torch.no_grad(), calibration_mode(net):
    for path in paths:
        net(torch.from_numpy(letterbox(path)))
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ours", default="build/release/bin/yoloquant")
    parser.add_argument("--model", required=True, help="checkpoint")
    parser.add_argument("--images", required=True, help="list file")
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--ort", help="a Python with onnxruntime")
    parser.add_argument("--nncf", help="a Python with nncf and openvino")
    parser.add_argument("--brevitas", help="a Python with brevitas")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        listing, count = image_list(args.images, args.count, os.path.join(folder, "images.txt"))
        baseline = os.path.join(folder, "float.onnx")
        export_baseline(args.ours, args.model, baseline)
        threads = str(args.threads)
        ours = [args.ours, "quantize", args.model, "--scheme", "w8a8", "--head", "one2many", "--calib", listing,
                "--calib-images", str(count), "--verify-images", "0", "--threads", threads, "--quiet",
                "--out", os.path.join(folder, "ours.onnx")]
        commands = {"yoloquant": ours + ["--defaults", "{activation_range: mean_minmax}"],
                    "ours, chosen": ours}
        for name, python, script, out in (("onnxruntime", args.ort, ORT, "ort.onnx"),
                                          ("nncf", args.nncf, NNCF, "nncf.xml"),
                                          ("brevitas", args.brevitas, BREVITAS, "none")):
            if python:
                commands[name] = [python, "-c", script, baseline, listing, str(count),
                                  os.path.join(folder, out), threads]
        results = {name: [] for name in commands}
        for _ in range(args.rounds):
            for name, command in commands.items():
                results[name].append(measure(command, args.threads))
        tenth_result = None
        if count >= 20:  # memory must not grow with the images
            tenth, _ = image_list(listing, count // 10, os.path.join(folder, "tenth.txt"))
            command = [tenth if part == listing else part for part in commands["yoloquant"]]
            tenth_result = measure(command, args.threads)
    print("%d images, %d threads, medians of %d rounds" % (count, args.threads, args.rounds))
    print_ratios(results)
    if tenth_result:
        print("ours with a tenth of the images: %.2f s, %.0f MiB" % (tenth_result["wall"], tenth_result["mib"]))


if __name__ == "__main__":
    main()

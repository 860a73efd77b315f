#!/usr/bin/env python3
"""W8A8 calibration: ours against ONNX Runtime's quantizer, NNCF and Brevitas, each as a process.

Every side reads and letterboxes the same images, calibrates the inputs of all convs and, but for
Brevitas, writes the quantized model. The sides take turns; printed are medians of wall seconds, CPU
seconds and peak memory, with ratios to ours. Ours is the whole command, from checkpoint to QCDQ
file; its comparison with ONNX Runtime is left out, as the others have none.

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
import statistics
import subprocess
import sys
import tempfile
import time

COMMON = """
import sys
import cv2
import numpy as np
model, images, count, out, threads = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4], int(sys.argv[5])
cv2.setNumThreads(threads)
paths = open(images).read().split("\\n")[:count]


def letterbox(path):
    image = cv2.imread(path)
    height, width = image.shape[:2]
    scale = min(640 / height, 640 / width)
    w, h = round(width * scale), round(height * scale)
    if (w, h) != (width, height):
        image = cv2.resize(image, (w, h), interpolation=cv2.INTER_LINEAR)
    left, top = (640 - w) // 2, (640 - h) // 2
    image = cv2.copyMakeBorder(image, top, 640 - h - top, left, 640 - w - left,
                               cv2.BORDER_CONSTANT, value=(114, 114, 114))
    return np.ascontiguousarray(image[None, :, :, ::-1].transpose(0, 3, 1, 2), dtype=np.float32) / 255
"""
ORT = COMMON + """
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
NNCF = COMMON + """
import nncf
import openvino
core = openvino.Core()
core.set_property("CPU", {"INFERENCE_NUM_THREADS": threads})
data = nncf.Dataset(paths, letterbox)
quantized = nncf.quantize(core.read_model(model), data, subset_size=count)
openvino.save_model(quantized, out)
"""
BREVITAS = COMMON + """
import onnx
import onnx2torch
import torch
from brevitas.graph.calibrate import calibration_mode
from brevitas.graph.quantize import layerwise_quantize
from brevitas.quant import Int8WeightPerChannelFloat, ShiftedUint8ActPerTensorFloat
import brevitas.nn as qnn
torch.set_num_threads(threads)
net = onnx2torch.convert(onnx.load(model)).eval()
net = layerwise_quantize(net, compute_layer_map={torch.nn.Conv2d: (qnn.QuantConv2d, dict(
    weight_quant=Int8WeightPerChannelFloat, input_quant=ShiftedUint8ActPerTensorFloat,
    return_quant_tensor=False))})
with torch.no_grad(), calibration_mode(net):
    for path in paths:
        net(torch.from_numpy(letterbox(path)))
"""


def measure(command, threads):
    environment = dict(os.environ, OMP_NUM_THREADS=str(threads))
    begin = time.monotonic()
    with tempfile.TemporaryFile(mode="w+") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            log.seek(0)
            sys.exit("failed: " + command[0] + "\n" + log.read()[-2000:])
    return dict(wall=time.monotonic() - begin, cpu=usage.ru_utime + usage.ru_stime,
                mib=usage.ru_maxrss / 1024)


def image_paths(listing, count):
    folder = os.path.dirname(os.path.abspath(listing))
    paths = []
    for line in open(listing):
        line = line.split("#")[0].strip()
        places = [os.path.join(folder, sub, line) for sub in ("", "train2017", "images/train2017")]
        found = [place for place in places if line and os.path.isfile(place)]
        if line and not found:
            sys.exit("no image " + line)
        paths += found[:1]
    return paths[:count]


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
        paths = image_paths(args.images, args.count)
        listing = os.path.join(folder, "images.txt")
        with open(listing, "w") as file:
            file.write("\n".join(paths))
        baseline = os.path.join(folder, "float.onnx")
        subprocess.run([args.ours, "export", args.model, "--head", "one2many", "--out", baseline, "--quiet"],
                       stdout=subprocess.DEVNULL,
                       check=True)
        threads = str(args.threads)
        commands = {"yoloquant": [
            args.ours, "quantize", args.model, "--scheme", "w8a8", "--head", "one2many", "--calib", listing,
            "--calib-images", str(len(paths)), "--verify-images", "0", "--threads", threads, "--quiet",
            "--out", os.path.join(folder, "ours.onnx")]}
        for name, python, script, out in (("onnxruntime", args.ort, ORT, "ort.onnx"),
                                          ("nncf", args.nncf, NNCF, "nncf.xml"),
                                          ("brevitas", args.brevitas, BREVITAS, "none")):
            if python:
                commands[name] = [python, "-c", script, baseline, listing, str(len(paths)),
                                  os.path.join(folder, out), threads]
        results = {name: [] for name in commands}
        for _ in range(args.rounds):
            for name, command in commands.items():
                results[name].append(measure(command, args.threads))
        tenth_result = None
        if len(paths) >= 20:  # memory must not grow with the images
            tenth = os.path.join(folder, "tenth.txt")
            with open(tenth, "w") as file:
                file.write("\n".join(paths[: len(paths) // 10]))
            command = [tenth if part == listing else part for part in commands["yoloquant"]]
            tenth_result = measure(command, args.threads)
    print("%d images, %d threads, medians of %d rounds" % (len(paths), args.threads, args.rounds))
    medians = {name: {key: statistics.median(r[key] for r in rows) for key in ("wall", "cpu", "mib")}
               for name, rows in results.items()}
    ours = medians["yoloquant"]
    print("%-12s %8s %8s %9s   %s" % ("", "wall s", "CPU s", "peak MiB", "times ours: wall, CPU, memory"))
    for name, m in medians.items():
        print("%-12s %8.2f %8.2f %9.0f   %.2f, %.2f, %.2f" % (
            name, m["wall"], m["cpu"], m["mib"], m["wall"] / ours["wall"], m["cpu"] / ours["cpu"],
            m["mib"] / ours["mib"]))
        spread = [r["wall"] for r in results[name]]
        print("%-12s wall %.2f to %.2f" % ("", min(spread), max(spread)))
    if tenth_result:
        print("ours with a tenth of the images: %.2f s, %.0f MiB" % (tenth_result["wall"], tenth_result["mib"]))


if __name__ == "__main__":
    main()

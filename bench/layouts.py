#!/usr/bin/env python3
"""Size and latency of the file layouts in ONNX Runtime, as ratios to the FP32 file; in OpenVINO too.

Writes the FP32 baseline and quantized files with the program (rounded to nearest: latency does not
depend on the codes), then times each file alone in a process of its own. The processes take turns,
a few runs each, so that all meet the same state of the machine; ratios are of medians, and of
minima, which a busy machine disturbs less.

    scripts/bench.sh layouts --model yolov10n.pt --images calib100.txt --python PYTHON
        [--ours build/release/bin/yoloquant] [--threads 2] [--rounds 25] [--peer]
        [--openvino PYTHON]

PYTHON has onnxruntime, that of --openvino has openvino, in which FP32 and the deploy files are then
timed as well, as ratios to FP32 in OpenVINO. --peer adds ONNX Runtime's own static quantizer on the
FP32 file (all its default operators, MinMax; PYTHON then needs onnx and opencv-python-headless).
"""
import argparse
import os
import statistics
import subprocess
import sys
import tempfile

from calibration import ORT
from common import export_baseline, image_list

RUNS = 6  # in a turn
IN_OPENVINO = ", OpenVINO"

ONNX_RUNTIME = """
import sys
import onnxruntime as ort
options = ort.SessionOptions()
options.intra_op_num_threads = int(sys.argv[2])
options.log_severity_level = 3
session = ort.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
run = lambda image: session.run(None, {"images": image})
"""
OPENVINO = """
import sys
import openvino
core = openvino.Core()
model = core.compile_model(sys.argv[1], "CPU", {"INFERENCE_NUM_THREADS": int(sys.argv[2]),
                                                "INFERENCE_PRECISION_HINT": "f32"})
request = model.create_infer_request()
run = lambda image: request.infer({0: image})
"""
LOOP = """
import time
import numpy as np
image = np.random.default_rng(0).random((1, 3, 640, 640), dtype=np.float32)
for _ in range(5):
    run(image)
for line in sys.stdin:
    run(image)
    times = []
    for _ in range(int(line)):
        begin = time.perf_counter()
        run(image)
        times.append(1000 * (time.perf_counter() - begin))
    print(*times, flush=True)
"""


def write_files(args, folder):
    files = {"fp32": os.path.join(folder, "fp32.onnx")}
    quiet = dict(check=True, stdout=subprocess.DEVNULL)
    export_baseline(args.ours, args.model, files["fp32"])
    for scheme, layout in (("w8a8", "qcdq"), ("w8a8", "deploy"), ("w4a8", "int4"), ("w4a8", "deploy")):
        name = scheme + " " + layout
        files[name] = os.path.join(folder, scheme + "_" + layout + ".onnx")
        subprocess.run([args.ours, "quantize", args.model, "--scheme", scheme, "--layout", layout, "--head",
                        "one2many", "--method", "nearest", "--calib", args.images, "--calib-images", str(args.count),
                        "--verify-images", "0", "--quiet", "--out", files[name]], **quiet)
    if args.peer:
        files["onnxruntime's quantizer"] = peer = os.path.join(folder, "peer.onnx")
        paths, count = image_list(args.images, args.count, os.path.join(folder, "paths.txt"))
        script = ORT.replace('op_types_to_quantize=["Conv"],', "")
        subprocess.run([args.python, "-c", script, files["fp32"], paths, str(count), peer, "2"], **quiet)
    return files


def measure(args, files):
    """Milliseconds of each run, by name; names in OpenVINO end in IN_OPENVINO."""
    jobs = {name: (args.python, ONNX_RUNTIME, file) for name, file in files.items()}
    if args.openvino:
        jobs |= {name + IN_OPENVINO: (args.openvino, OPENVINO, files[name])
                 for name in ("fp32", "w8a8 deploy", "w4a8 deploy")}
    workers = {name: subprocess.Popen([python, "-c", runtime + LOOP, file, str(args.threads)], text=True,
                                      stdin=subprocess.PIPE, stdout=subprocess.PIPE)
               for name, (python, runtime, file) in jobs.items()}
    times = {name: [] for name in jobs}
    for _ in range(args.rounds):
        for name, worker in workers.items():
            worker.stdin.write("%d\n" % RUNS)
            worker.stdin.flush()
            line = worker.stdout.readline()
            if not line:
                sys.exit("failed: " + name)
            times[name] += [float(value) for value in line.split()]
    for worker in workers.values():
        worker.stdin.close()
        worker.wait()
    return times


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ours", default="build/release/bin/yoloquant")
    parser.add_argument("--model", required=True, help="checkpoint")
    parser.add_argument("--images", required=True, help="list file")
    parser.add_argument("--count", type=int, default=32, help="calibration images")
    parser.add_argument("--python", default=sys.executable, help="a Python with onnxruntime")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--openvino", help="a Python with openvino")
    parser.add_argument("--peer", action="store_true", help="ONNX Runtime's own quantizer as well")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        files = write_files(args, folder)
        times = measure(args, files)
        sizes = {name: os.path.getsize(file) for name, file in files.items()}
    print("%d threads, %d runs each" % (args.threads, args.rounds * RUNS))
    print("%-24s %9s %6s %10s %8s %8s" % ("", "bytes", "size", "median ms", "medians", "minima"))
    for name, values in times.items():
        base = times["fp32" + (IN_OPENVINO if name.endswith(IN_OPENVINO) else "")]
        size = sizes[name.removesuffix(IN_OPENVINO)]
        median = statistics.median(values)
        print("%-24s %9d %6.3f %10.2f %8.3f %8.3f%s" % (
            name, size, size / sizes["fp32"], median, median / statistics.median(base),
            min(values) / min(base), "  slower than FP32" if median > 1.02 * statistics.median(base) else ""))


if __name__ == "__main__":
    main()

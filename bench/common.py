"""What the benchmarks share: the images, one process measured, ratios to ours, and what a peer starts with."""
import json
import os
import statistics
import subprocess
import tempfile
import time

# The start of a peer's script: its arguments, and our letterbox with cv2.
PEER_START = """
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
# The same with the float model in Brevitas' hands: `graph` of the file, and `net`.
BREVITAS_START = PEER_START + """
import onnx
import onnx2torch
import torch
from brevitas.graph.quantize import layerwise_quantize
import brevitas.nn as qnn
torch.set_num_threads(threads)
graph = onnx.load(model)
net = onnx2torch.convert(graph).eval()
"""


class Failed(SystemExit):
    """A process that failed, with the end of what it said; ends the benchmark where nobody catches it."""


def measure(command, threads):
    """Runs a command alone: wall seconds, CPU seconds and peak MiB, its children included, and what it printed."""
    environment = dict(os.environ, OMP_NUM_THREADS=str(threads))
    begin = time.monotonic()
    with tempfile.TemporaryFile(mode="w+") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        log.seek(0)
        output = log.read()
    if process.returncode != 0:
        raise Failed("failed: " + command[0] + "\n" + output[-2000:])
    return dict(wall=time.monotonic() - begin, cpu=usage.ru_utime + usage.ru_stime,
                mib=usage.ru_maxrss / 1024, output=output)


def image_paths(place, count):
    """The first images of a folder, by name, or of a list file."""
    if os.path.isdir(place):
        names = sorted(n for n in os.listdir(place) if n.lower().endswith((".jpg", ".jpeg", ".png")))
        return [os.path.join(os.path.abspath(place), name) for name in names[:count]]
    folder = os.path.dirname(os.path.abspath(place))
    paths = []
    for line in open(place):
        line = line.split("#")[0].strip()
        places = [os.path.join(folder, sub, line) for sub in ("", "train2017", "images/train2017")]
        found = [place for place in places if line and os.path.isfile(place)]
        if line and not found:
            raise SystemExit("no image " + line)
        paths += found[:1]
    return paths[:count]


def image_list(place, count, file):
    """Writes the paths of these images to a list file; returns it and their number."""
    paths = image_paths(place, count)
    with open(file, "w") as out:
        out.write("\n".join(paths))
    return file, len(paths)


def export_baseline(program, model, out, head="one2many"):
    """Writes the float model as the ONNX file that quantized ones are compared with."""
    subprocess.run([program, "export", model, "--head", head, "--out", out, "--quiet"],
                   stdout=subprocess.DEVNULL, check=True)


def evaluate(args, file, baseline, head, out):
    """The metrics of `eval`, labels and fidelity to the baseline; args has ours, coco, max_images, threads."""
    measure([args.ours, "eval", file, "--coco", args.coco, "--max-images", str(args.max_images), "--head", head,
             "--against", baseline, "--skip-latency", "--threads", str(args.threads), "--quiet", "--out", out],
            args.threads)
    with open(os.path.join(out, "metrics.json")) as metrics:
        return json.load(metrics)


def print_ratios(results):
    """Medians and ranges of {name: [measure(), ...]}, with ratios to the first name's, which is ours."""
    medians = {name: {key: statistics.median(r[key] for r in rows) for key in ("wall", "cpu", "mib")}
               for name, rows in results.items()}
    ours = next(iter(medians.values()))
    print("%-12s %8s %8s %9s   %s" % ("", "wall s", "CPU s", "peak MiB", "times ours: wall, CPU, memory"))
    for name, m in medians.items():
        print("%-12s %8.2f %8.2f %9.0f   %.2f, %.2f, %.2f" % (
            name, m["wall"], m["cpu"], m["mib"], m["wall"] / ours["wall"], m["cpu"] / ours["cpu"],
            m["mib"] / ours["mib"]))
        spread = [r["wall"] for r in results[name]]
        if len(spread) > 1:
            print("%-12s wall %.2f to %.2f" % ("", min(spread), max(spread)))

#!/usr/bin/env python3
"""Images to network inputs (read, letterbox to 640x640, RGB floats): ours against Python's cv2.

Both run single-threaded on the same folder, in turn, and the rate is that of the best of the rounds.

    bench/preprocess.py --ours build/release/bin/data_bench --images FOLDER --python PYTHON_WITH_CV2
"""
import argparse
import json
import os
import statistics
import subprocess
import sys

PEER = """
import glob, sys, time
import cv2, numpy as np
cv2.setNumThreads(1)
files = sorted(glob.glob(sys.argv[1] + "/*.jpg"))

def prepare(path, s=640):
    im = cv2.imread(path)
    h, w = im.shape[:2]
    r = min(s / h, s / w)
    nw, nh = round(w * r), round(h * r)
    if (nw, nh) != (w, h):
        im = cv2.resize(im, (nw, nh), interpolation=cv2.INTER_LINEAR)
    left, top = (s - nw) // 2, (s - nh) // 2
    im = cv2.copyMakeBorder(im, top, s - nh - top, left, s - nw - left, cv2.BORDER_CONSTANT,
                            value=(114, 114, 114))
    return np.ascontiguousarray(im[:, :, ::-1].transpose(2, 0, 1)).astype(np.float32) / 255

for path in files:
    prepare(path)
begin = time.perf_counter()
for path in files:
    prepare(path)
print(len(files) / (time.perf_counter() - begin))
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ours", default="build/release/bin/data_bench")
    parser.add_argument("--images", required=True, help="folder of JPEG files")
    parser.add_argument("--python", default=sys.executable, help="a Python with cv2 and numpy")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    environment = dict(os.environ, YOLOQUANT_BENCH_IMAGES=os.path.abspath(args.images))
    ours, peer = [], []
    for _ in range(args.rounds):
        output = subprocess.run(
            [args.ours, "--benchmark_filter=prepare_images/1/", "--benchmark_format=json",
             "--benchmark_min_time=0.5"], env=environment, check=True, capture_output=True).stdout
        ours.append(json.loads(output)["benchmarks"][0]["items_per_second"])
        peer.append(float(subprocess.run([args.python, "-c", PEER, args.images], check=True,
                                         capture_output=True, text=True).stdout))
    ratios = sorted(a / b for a, b in zip(ours, peer))
    print("images/s: ours %.0f, cv2 %.0f; ratio %.2f (%.2f to %.2f)"
          % (max(ours), max(peer), statistics.median(ratios), ratios[0], ratios[-1]))


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""COCO box evaluation, ours against pycocotools and faster-coco-eval, each as a process.

Generates a data set (default 5000 images x 300 detections, 80 classes), runs every evaluator in
turn for some rounds and prints CPU seconds, wall seconds and peak memory, with ratios of medians
to ours. The figures must agree to 1e-9.

    bench/coco_eval.py --ours build/release/bin/coco_eval_process [--python PYTHON] [--faster PYTHON]

PYTHON has pycocotools (and numpy, to generate); --faster is a Python with faster-coco-eval.
"""
import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time

PYCOCOTOOLS = """
import sys
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
truth = COCO(sys.argv[1])
e = COCOeval(truth, truth.loadRes(sys.argv[2]), "bbox")
e.evaluate(); e.accumulate(); e.summarize()
print(*("%.12f" % v for v in e.stats))
"""
FASTER = """
import sys
from faster_coco_eval import COCO, COCOeval_faster
truth = COCO(sys.argv[1])
e = COCOeval_faster(truth, truth.loadRes(sys.argv[2]), "bbox", print_function=lambda *a, **k: None)
e.evaluate(); e.accumulate(); e.summarize()
print(*("%.12f" % v for v in list(e.stats)[:12]))
"""


def generate(folder, images, detections, seed):
    """About 7.3 objects an image, as COCO; a third of the detections near one, the rest spread out."""
    rng = random.Random(seed)
    categories = list(range(1, 81))

    def box():
        width, height = 640 * rng.random() ** 2.5 + 4, 480 * rng.random() ** 2.5 + 4
        return [round(rng.random() * (640 - width / 2), 2), round(rng.random() * (480 - height / 2), 2),
                round(width, 2), round(height, 2)]

    truth = dict(images=[], annotations=[], categories=[dict(id=c, name=str(c)) for c in categories])
    with open(os.path.join(folder, "detections.json"), "w") as out:
        for image in range(1, images + 1):
            truth["images"].append(dict(id=image, file_name="%012d.jpg" % image, width=640, height=480))
            objects = []
            for _ in range(min(int(rng.expovariate(1 / 7.3)), 90)):
                b, c = box(), rng.choice(categories)
                objects.append((b, c))
                truth["annotations"].append(
                    dict(id=len(truth["annotations"]) + 1, image_id=image, category_id=c, bbox=b,
                         area=b[2] * b[3] * .7, iscrowd=int(rng.random() < .01)))
            rows = []
            for k in range(detections):
                if objects and k % 3 == 0:
                    b, c = rng.choice(objects)
                    b = [v + rng.gauss(0, .06) * b[2 + i % 2] for i, v in enumerate(b)]
                    score = rng.random() ** 1.5
                else:
                    b, c, score = box(), rng.choice(categories), rng.random() ** 6
                rows.append('{"image_id":%d,"category_id":%d,"bbox":[%.3f,%.3f,%.3f,%.3f],"score":%.6f}'
                            % (image, c, b[0], b[1], max(b[2], 1), max(b[3], 1), score))
            out.write(("[" if image == 1 else ",\n") + ",\n".join(rows))
        out.write("]\n")
    with open(os.path.join(folder, "annotations.json"), "w") as out:
        json.dump(truth, out)


def measure(command):
    begin = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit("failed: " + " ".join(command[:2]))
    figures = [float(v) for v in output.strip().splitlines()[-1].split()]
    return dict(cpu=usage.ru_utime + usage.ru_stime, wall=time.monotonic() - begin,
                mib=usage.ru_maxrss / 1024), figures


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ours", default="build/release/bin/coco_eval_process")
    parser.add_argument("--python", default=sys.executable, help="a Python with pycocotools")
    parser.add_argument("--faster", help="a Python with faster-coco-eval")
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--detections", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1, help="of ours")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        generate(folder, args.images, args.detections, 1)
        files = [os.path.join(folder, name) for name in ("annotations.json", "detections.json")]
        size = os.path.getsize(files[1]) / 2**20
        print("%d images x %d detections, %.0f MiB of detections" % (args.images, args.detections, size))
        commands = {"yoloquant": [args.ours] + files + [str(args.threads)],
                    "pycocotools": [args.python, "-c", PYCOCOTOOLS] + files}
        if args.faster:
            commands["faster-coco-eval"] = [args.faster, "-c", FASTER] + files
        results = {name: [] for name in commands}
        worst = 0.0
        for _ in range(args.rounds):
            figures = {}
            for name, command in commands.items():
                result, figures[name] = measure(command)
                results[name].append(result)
            reference = figures["pycocotools"]
            worst = max(worst, max(abs(a - b) for a, b in zip(figures["yoloquant"], reference)))
    medians = {name: {key: statistics.median(r[key] for r in rows) for key in ("cpu", "wall", "mib")}
               for name, rows in results.items()}
    ours = medians["yoloquant"]
    print("%-18s %9s %9s %9s   %s" % ("", "CPU s", "wall s", "peak MiB", "times ours: CPU, wall, memory"))
    for name, m in medians.items():
        print("%-18s %9.2f %9.2f %9.0f   %.1f, %.1f, %.1f" % (
            name, m["cpu"], m["wall"], m["mib"], m["cpu"] / ours["cpu"], m["wall"] / ours["wall"],
            m["mib"] / ours["mib"]))
    print("mAP %.6f; largest difference from pycocotools' figures: %.2g" % (reference[0], worst))
    if worst > 1e-9:
        sys.exit("the figures differ")


if __name__ == "__main__":
    main()

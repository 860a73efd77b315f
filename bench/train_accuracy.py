#!/usr/bin/env python3
"""Accuracy of Ultralytics' training, scored as ours: the peer of bench/sweeps/stabilizers.yaml.

    scripts/bench.sh train_accuracy --ultralytics PYTHON --run RUN --coco shapes --out OUT
        [--definition definitions/yolov10p.yaml] [--imgsz 128] [--epochs 100] [--batch 16]
        [--lr0 0.003] [--seeds 0,1,2] [--threads 1]

RUN is a training of ours on the same data (a cell of the sweep): its labels are used. PYTHON has
torch and ultralytics (8.4 has YOLOv10). Trains with AdamW in float32 and prints mAP50-95 of
the final averaged weights, both heads, by `yoloquant eval` on val2017 of --coco.
"""
import argparse
import json
import os
import subprocess

PEER = """
import sys
import torch
import torchvision
from ultralytics import YOLO
definition, data, out, seed, imgsz, epochs, batch, lr0, threads = sys.argv[1:]
torch.set_num_threads(int(threads))


def nms(boxes, scores, iou):  # for the validation at the end, where torchvision has no operators
    order, kept = scores.argsort(descending=True), []
    area = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    while order.numel():
        first, order = order[0], order[1:]
        kept.append(first.item())
        low = torch.maximum(boxes[first, :2], boxes[order, :2])
        high = torch.minimum(boxes[first, 2:], boxes[order, 2:])
        shared = (high - low).clamp(min=0).prod(1)
        order = order[shared / (area[first] + area[order] - shared) <= iou]
    return torch.tensor(kept, dtype=torch.long)


torchvision.ops.nms = nms
YOLO(definition, task="detect").train(
    data=data, imgsz=int(imgsz), epochs=int(epochs), batch=int(batch), nbs=int(batch), optimizer="AdamW",
    lr0=float(lr0), seed=int(seed), amp=False, workers=0, plots=False, val=False, device="cpu",
    project=out, name="seed" + seed, exist_ok=True)
"""


def score(program, weights, head, args, out):
    subprocess.run([program, "eval", weights, "--head", head, "--imgsz", args.imgsz, "--coco", args.coco,
                    "--threads", args.threads, "--quiet", "--out", out], check=True)
    with open(os.path.join(out, "metrics.json")) as file:
        return json.load(file)["metrics"]["mAP_50_95"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default="build/release/bin/yoloquant")
    parser.add_argument("--ultralytics", required=True)
    parser.add_argument("--run", required=True)
    parser.add_argument("--coco", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--definition", default="definitions/yolov10p.yaml")
    parser.add_argument("--seeds", default="0,1,2")
    for name, default in (("imgsz", "128"), ("epochs", "100"), ("batch", "16"), ("lr0", "0.003"), ("threads", "1")):
        parser.add_argument("--" + name, default=default)
    args = parser.parse_args()

    out = os.path.abspath(args.out)
    os.makedirs(out, exist_ok=True)
    root = os.path.join(os.path.abspath(args.run), "data", "coco")
    data = os.path.join(out, "data.yaml")
    with open(os.path.join(root, "data.yaml")) as file, open(data, "w") as copy:
        copy.write("path: %s\n%s" % (root, file.read()))
    for seed in args.seeds.split(","):
        subprocess.run([args.ultralytics, "-c", PEER, os.path.abspath(args.definition), data, out, seed, args.imgsz,
                        args.epochs, args.batch, args.lr0, args.threads], check=True)
        weights = os.path.join(out, "seed" + seed, "weights", "last.pt")
        figures = [score(args.program, weights, head, args, os.path.join(out, "seed%s-%s" % (seed, head)))
                   for head in ("one2one", "one2many")]
        print("seed %s: mAP50-95 %.4f one2one, %.4f one2many" % (seed, *figures), flush=True)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Training steps of YOLOv10 in images/s and peak memory: ours against Ultralytics, in turns.

Forward, detection loss of both heads, backward, clipping, SGD with momentum and the running mean of
the weights, of fresh weights on the same kind of made-up images and boxes, float32, without data
loading. Each side is a process of its own and times some steps behind a warm-up; the processes take
turns. Printed are the median and the range of all steps, and the ratio of the medians.

    scripts/bench.sh train_step --ultralytics PYTHON [--definition yolov10n] [--side 320] [--batch 8]
        [--steps 8] [--rounds 3] [--threads 2]

PYTHON has torch and ultralytics (8.4 has YOLOv10). Without it only ours is measured.
"""
import argparse
import os
import statistics

from common import measure

PEER = """
import sys, time
import torch
from ultralytics.cfg import get_cfg
from ultralytics.nn.tasks import DetectionModel
from ultralytics.utils.torch_utils import ModelEMA
definition, side, batch, steps, threads = sys.argv[1], *map(int, sys.argv[2:])
torch.set_num_threads(threads)
model = DetectionModel(definition + ".yaml", verbose=False).train()
model.args = get_cfg()
decayed = [p for p in model.parameters() if p.requires_grad and p.ndim > 1]
others = [p for p in model.parameters() if p.requires_grad and p.ndim <= 1]
optimizer = torch.optim.SGD([dict(params=decayed, weight_decay=5e-4), dict(params=others)],
                            lr=0.01, momentum=0.9, nesterov=True)
ema = ModelEMA(model)
boxes = 7 * batch
data = dict(img=torch.rand(batch, 3, side, side), batch_idx=torch.arange(boxes) // 7,
            cls=torch.randint(80, (boxes, 1)).float(),
            bboxes=torch.cat([torch.rand(boxes, 2) * 0.6 + 0.2, torch.rand(boxes, 2) * 0.25 + 0.04], 1))
for step in range(steps + 1):
    start = time.perf_counter()
    loss, _ = model(data)
    loss.sum().backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 10.0)
    optimizer.step()
    optimizer.zero_grad()
    ema.update(model)
    if step:
        print("%.3f images/s" % (batch / (time.perf_counter() - start)))
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", default="build/release/bin/bench_train_step")
    parser.add_argument("--ultralytics", help="a Python with torch and ultralytics")
    parser.add_argument("--definition", default="yolov10n")
    parser.add_argument("--side", type=int, default=320)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=8, help="of a turn, behind one that does not count")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    args = parser.parse_args()
    numbers = [str(n) for n in (args.side, args.batch, args.steps, args.threads)]
    sides = {"yoloquant": [args.program, os.path.join("definitions", args.definition + ".yaml"), *numbers]}
    if args.ultralytics:
        sides["ultralytics"] = [args.ultralytics, "-c", PEER, args.definition, *numbers]
    speeds, memory = {name: [] for name in sides}, {name: 0 for name in sides}
    for _ in range(args.rounds):
        for name, command in sides.items():
            run = measure(command, args.threads)
            speeds[name] += [float(line.split()[0]) for line in run["output"].splitlines() if "images/s" in line]
            memory[name] = max(memory[name], run["mib"] / 1024)
    print("%s, %d px, batch %d, %d threads, %d steps each" % (
        args.definition, args.side, args.batch, args.threads, args.steps * args.rounds))
    ours = statistics.median(speeds["yoloquant"])
    for name, values in speeds.items():
        median = statistics.median(values)
        print("%-12s %7.2f images/s [%.2f, %.2f]  %.2f GiB  ours is %.2f times as fast, with %.2f of its memory" % (
            name, median, min(values), max(values), memory[name], ours / median,
            memory["yoloquant"] / memory[name]))


if __name__ == "__main__":
    main()

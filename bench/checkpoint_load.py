#!/usr/bin/env python3
"""Cold process from .pt to state dict: bench_checkpoint_load against torch.load, interleaved.

  bench/checkpoint_load.py [--runs N] [--program build/release/bin/bench_checkpoint_load] FILE.pt

Run it with a Python that has torch. A file of pickled Ultralytics modules is read by torch with
weights_only=False, with empty stand-ins for the ultralytics classes (the real ones only add time);
a plain-dict file with weights_only=True. Prints wall time (median, and the smallest and largest),
peak memory of the process, and the ratio of each pair of runs.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time

LOADER = """
import importlib.abc, importlib.machinery, sys, types, torch

class Stubs(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name, path, target=None):
        if name.split(".")[0] == "ultralytics":
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
    def create_module(self, spec):
        module = types.ModuleType(spec.name)
        def make(name):
            if name.startswith("__"):
                raise AttributeError(name)
            bases = (object,) if ".utils" in spec.name else (torch.nn.Module,)
            setattr(module, name, type(name, bases, {"__module__": spec.name}))
            return module.__dict__[name]
        module.__getattr__ = make
        return module
    def exec_module(self, module):
        pass

path, is_plain = sys.argv[1], sys.argv[2] == "plain"
if not is_plain:
    sys.meta_path.insert(0, Stubs())
checkpoint = torch.load(path, map_location="cpu", weights_only=is_plain)
if is_plain:
    state = checkpoint.get("ema_state_dict") or checkpoint["model_state_dict"]
else:
    state = (checkpoint.get("ema") or checkpoint["model"]).state_dict()
print(f"{len(state)} tensors, {sum(t.numel() * t.element_size() for t in state.values())} bytes")
"""


def run(command):
    """Wall seconds, peak KiB and output of one process."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    if status != 0:
        sys.exit(f"failed: {' '.join(command)}")
    return seconds, usage.ru_maxrss, output.strip()


def is_plain_dict(path):
    with open(path, "rb") as file:
        return b"ultralytics.nn" not in file.read()


def report(name, runs):
    seconds = [r[0] for r in runs]
    print(
        f"{name:24} median {1e3 * statistics.median(seconds):8.1f} ms"
        f"  [{1e3 * min(seconds):.1f}, {1e3 * max(seconds):.1f}]"
        f"  peak {max(r[1] for r in runs) / 1024:7.1f} MiB"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("checkpoint")
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--program", default="build/release/bin/bench_checkpoint_load")
    options = parser.parse_args()
    kind = "plain" if is_plain_dict(options.checkpoint) else "module"
    with tempfile.TemporaryDirectory() as folder:
        loader = os.path.join(folder, "loader.py")
        with open(loader, "w", encoding="utf-8") as file:
            file.write(LOADER)
        ours_command = [options.program, options.checkpoint]
        torch_command = [sys.executable, loader, options.checkpoint, kind]
        run(ours_command), run(torch_command)  # both once, so that the files are cached for both
        ours, theirs = [], []
        for _ in range(options.runs):
            ours.append(run(ours_command))
            theirs.append(run(torch_command))
    if ours[0][2] != theirs[0][2]:
        sys.exit(f"they disagree: {ours[0][2]} against {theirs[0][2]}")
    print(f"{options.checkpoint} ({kind}): {ours[0][2]}; {options.runs} interleaved runs")
    report("yoloquant", ours)
    report("torch.load", theirs)
    ratios = [t[0] / o[0] for o, t in zip(ours, theirs)]
    print(
        f"{'ratio':24} median {statistics.median(ratios):8.1f} x "
        f"  [{min(ratios):.1f}, {max(ratios):.1f}]"
        f"  memory {max(r[1] for r in theirs) / max(r[1] for r in ours):5.1f} x"
    )


if __name__ == "__main__":
    main()

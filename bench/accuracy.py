#!/usr/bin/env python3
"""Accuracy of schemes, methods, heads and layouts: the rows of docs/accuracy.md, in one table.

Each row quantizes the model with the program and evaluates the file against labels and against the
float model: mAP50-95 with the loss to FP32, fidelity with its interval, seconds and peak memory of
the quantization, size of the file. --out takes the results of one model and data set, a folder for
each row and seed; what is there, with the same options, is not repeated, and an interrupted
quantization goes on.

    scripts/bench.sh accuracy --model yolov10n.pt --coco coco --calib coco/train2017 --out results \\
        [--rows 'w4*_gptq,w8a8_*'] [--seeds 0,1,2] [--time-budget 30m] [--list | --table]

The table is printed as markdown, with all rows found in --out, and written to accuracy.json there.
"""
import argparse
import fnmatch
import json
import os
import statistics
import sys

from common import Failed, evaluate, measure

SCHEMES = ("w8a16", "w8a8", "w4a16", "w4a8")


def row(name, scheme, *options, head="one2many", images=None):
    return dict(name=name, scheme=scheme, options=list(options), head=head, images=images)


def all_rows():
    normal, most, gptq = ("--effort", "normal"), ("--effort", "max"), ("--method", "gptq")
    rows = [row("fp32", None), row("fp32_one2one", None, head="one2one")]
    for scheme in SCHEMES:
        rows += [row(scheme + "_nearest", scheme, "--method", "nearest"),
                 row(scheme + "_reference", scheme, "--preset", "reference"),
                 row(scheme + "_bias", scheme, "--method", "bias"),
                 row(scheme + "_gptq", scheme, *gptq),
                 row(scheme + "_gptq_adaround", scheme, "--method", "gptq,adaround"),
                 row(scheme + "_fast", scheme),
                 row(scheme + "_normal", scheme, *normal),
                 row(scheme + "_max", scheme, *most)]
    rows += [row("w8a8_deploy", "w8a8", "--layout", "deploy"),
             row("w4a8_int4", "w4a8", "--layout", "int4")]
    for scheme in SCHEMES[1:]:
        rows += [row(scheme + "_one2one_fast", scheme, head="one2one"),
                 row(scheme + "_one2one_normal", scheme, *normal, head="one2one")]
    rows += [row("w4a8_both_fast", "w4a8", "--tuned-heads", "both"),
             row("w4a8_both_one2one_fast", "w4a8", "--tuned-heads", "both", head="one2one")]
    rows += [row("w3a16_max", "w3a16", *most), row("w4a6_max", "w4a6", *most)]
    for scheme in SCHEMES[2:]:
        rows += [row(scheme + "_mean4.5_gptq", scheme, *gptq, "--mean-bits", "4.5"),
                 row(scheme + "_mean4.5_normal", scheme, *normal, "--mean-bits", "4.5")]
    rows += [row("w4a16_gptq_images%d" % n, "w4a16", *gptq, images=n) for n in (16, 32, 64, 128)]
    return rows


def chosen_rows(patterns):
    globs = patterns.split(",")
    chosen = [r for r in all_rows() if any(fnmatch.fnmatchcase(r["name"], g) for g in globs)]
    if not chosen:
        sys.exit("no row matches " + patterns + "; --list names them")
    return chosen


def options_of(args, r, seed):
    """What a row adds to the command: the record of a result, which is repeated when this changes."""
    options = ["--head", r["head"]]
    if r["scheme"]:
        options += ["--scheme", r["scheme"], *r["options"], "--calib-images", str(r["images"] or args.calib_images),
                    "--seed", str(seed)]
    if args.time_budget and "--effort" in options:
        options += ["--time-budget", args.time_budget]
    return options


def figures(args, file, head, out):
    result = evaluate(args, file, baseline_of(args, head), head, out)
    fidelity = result["yoloquant"]["fidelity"]
    interval = fidelity["confidence_interval"]["fidelity"]
    loss = result["yoloquant"]["difference"]["mAP_50_95"]
    return dict(map=result["metrics"]["mAP_50_95"], loss_low=-loss["high"], loss_high=-loss["low"],
                fidelity=fidelity["fidelity"], low=interval["low"], high=interval["high"],
                image_mean=fidelity["image_mean"], images=result["metrics"]["num_images"],
                version=result["yoloquant"]["git_hash"])


def baseline_of(args, head):
    return os.path.join(args.out, "fp32" + ("" if head == "one2many" else "_" + head), "model.onnx")


def write_json(path, value):
    with open(path + ".part", "w") as file:
        json.dump(value, file, indent=1)
    os.replace(path + ".part", path)


def read_json(path):
    try:
        with open(path) as file:
            return json.load(file)
    except (FileNotFoundError, NotADirectoryError):
        return None


def run(args, r, seed):
    """One row with one seed; its result.json is written last."""
    folder = os.path.join(args.out, r["name"] + ("-%d" % seed if r["scheme"] else ""))
    os.makedirs(folder, exist_ok=True)
    record, file = os.path.join(folder, "result.json"), os.path.join(folder, "model.onnx")
    options = options_of(args, r, seed)
    done = read_json(record)
    if done and done["options"] == options:
        return
    common = ["--out", file, "--quiet"]
    resumed = os.path.exists(file + ".state")
    if r["scheme"]:
        command = [args.ours, "quantize", args.model, *options, "--calib", args.calib, "--threads", str(args.threads),
                   *common] + (["--resume"] if resumed else [])
    else:
        command = [args.ours, "export", args.model, *options, *common]
    cost = measure(command, args.threads)
    result = figures(args, file, r["head"], folder)
    result.update(name=r["name"], seed=seed, options=options, seconds=cost["wall"], mib=cost["mib"], resumed=resumed,
                  bytes=os.path.getsize(file))
    write_json(record, result)
    print("%s, seed %d: mAP %.4f, fidelity %.4f, %.0f s" % (
        r["name"], seed, result["map"], result["fidelity"], result["seconds"]), file=sys.stderr, flush=True)


def collect(args):
    """All results in --out, by row in the table's order; the mean over seeds."""
    found = {}
    for entry in os.listdir(args.out):
        result = read_json(os.path.join(args.out, entry, "result.json"))
        if result:
            found.setdefault(result["name"], []).append(result)
    table = []
    for r in all_rows():
        results = sorted(found.get(r["name"], []), key=lambda result: result["seed"])
        if not results:
            continue
        line = {key: statistics.mean(result[key] for result in results)
                for key in ("map", "loss_low", "loss_high", "fidelity", "low", "high", "image_mean", "seconds", "mib",
                            "bytes")}
        maps = [result["map"] for result in results]
        base = found["fp32" if r["head"] == "one2many" else "fp32_" + r["head"]][0]
        line.update(name=r["name"], loss=base["map"] - line["map"], share=line["bytes"] / base["bytes"],
                    least=min(maps), most=max(maps), resumed=any(result["resumed"] for result in results),
                    seeds=[result["seed"] for result in results], options=results[0]["options"],
                    images=results[0]["images"])
        table.append(line)
    return table


def print_table(table):
    print("| row | mAP50-95 | loss [95 %] | fidelity [95 %] | by image | seconds | peak MiB | MB | of FP32 |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for line in table:
        several = len(line["seeds"]) > 1
        name = line["name"] + (" (%d seeds)" % len(line["seeds"]) if several else "")
        spread = " (%.4f to %.4f)" % (line["least"], line["most"]) if several else ""
        print("| %s | %.4f%s | %.4f [%.4f, %.4f] | %.4f [%.4f, %.4f] | %.4f | %s%.0f | %.0f | %.2f | %.3f |" % (
            name, line["map"], spread, line["loss"], line["loss_low"], line["loss_high"], line["fidelity"], line["low"],
            line["high"], line["image_mean"], "> " if line["resumed"] else "", line["seconds"], line["mib"],
            line["bytes"] / 1e6, line["share"]))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ours", default="build/release/bin/yoloquant")
    parser.add_argument("--model", help="checkpoint")
    parser.add_argument("--coco", help="labelled data set; its val2017 is evaluated")
    parser.add_argument("--max-images", type=int, default=50, help="the first so many of them; 0: all")
    parser.add_argument("--calib", help="calibration images: a folder or a list file")
    parser.add_argument("--calib-images", type=int, default=128, help="how many of them")
    parser.add_argument("--out", help="folder of the results")
    parser.add_argument("--rows", default="*", help="globs of row names, with commas between")
    parser.add_argument("--seeds", default="0", help="of quantization, with commas between; the table has means")
    parser.add_argument("--time-budget", help="of rows with an effort: 90s, 10m, 1.5h")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--list", action="store_true", help="print the rows' options and stop")
    parser.add_argument("--table", action="store_true", help="print the table of what is in --out and stop")
    args = parser.parse_args()
    rows = chosen_rows(args.rows)
    if args.list:
        for r in rows:
            print("%-24s %s" % (r["name"], " ".join(options_of(args, r, 0))))
        return
    for name in ("out",) if args.table else ("out", "model", "coco", "calib"):
        if not getattr(args, name):
            parser.error("--" + name + " is needed")
    if args.table:
        print_table(collect(args))
        return
    seeds = [int(seed) for seed in args.seeds.split(",")]
    failures = 0
    heads = {r["head"] for r in rows}
    baselines = [r for r in all_rows() if not r["scheme"] and r["head"] in heads]  # what is compared with
    for r in baselines + [r for r in rows if r["scheme"]]:
        for seed in seeds if r["scheme"] else [0]:
            try:
                run(args, r, seed)
            except Failed as error:
                if not r["scheme"]:
                    raise
                failures += 1
                print("%s, seed %d: %s" % (r["name"], seed, error), file=sys.stderr, flush=True)
    table = collect(args)
    write_json(os.path.join(args.out, "accuracy.json"), table)
    print_table(table)
    if failures:
        sys.exit("%d failed" % failures)


if __name__ == "__main__":
    main()

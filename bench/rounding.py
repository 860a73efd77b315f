#!/usr/bin/env python3
"""4-bit rounding (W4A16, GPTQ): ours against Brevitas' GPTQ and bias correction, each as a process.

Both take the same images and round the weights of all convs to 4 bits per output channel. Ours is
the whole command, from checkpoint to QCDQ file. Brevitas starts from the float ONNX file that ours
exports, takes MSE scales and act-order, and writes its weights back into that file; the DFL
projection, which ours keeps exact, stays float there. The sides take turns; printed are medians of
wall seconds, CPU seconds and peak memory, with ratios to ours, and with --coco the mAP of both and
their fidelity to the float model.

    scripts/bench.sh rounding --model yolov10n.pt --calib coco/train2017 --images 32 \\
        --brevitas PYTHON [--coco coco] [--ours build/release/bin/yoloquant]

PYTHON has torch brevitas onnx onnx2torch opencv-python-headless. Without it only ours is measured.
GPTQ of ours takes at most 80 of the images; Brevitas takes all.
"""
import argparse
import os
import tempfile

from common import BREVITAS_START, evaluate, export_baseline, image_list, measure, print_ratios

BREVITAS = BREVITAS_START + """
from brevitas.graph.calibrate import bias_correction_mode
from brevitas.graph.gptq import gptq_mode
from brevitas.quant import Int8WeightPerChannelFloatMSE
# Modules come in the order of the file's nodes.
names = [name for name, module in net.named_modules() if isinstance(module, torch.nn.Conv2d)]
nodes = [node for node in graph.graph.node if node.op_type == "Conv"]
projection = [name for name in names if tuple(net.get_submodule(name).weight.shape) == (1, 16, 1, 1)]
net = layerwise_quantize(net, name_blacklist=projection, compute_layer_map={torch.nn.Conv2d: (qnn.QuantConv2d, dict(
    weight_quant=Int8WeightPerChannelFloatMSE.let(bit_width=4, narrow_range=False), return_quant_tensor=False))})


def forward_all(network):
    for path in paths:
        network(torch.from_numpy(letterbox(path)))


with torch.no_grad():
    net(torch.from_numpy(letterbox(paths[0])))  # takes the scales of the float weights
    with gptq_mode(net, act_order=True, use_quant_activations=False) as gptq:
        for _ in range(gptq.num_layers):
            forward_all(gptq.model)
            gptq.update()
    with bias_correction_mode(net):
        forward_all(net)
    tensors = {tensor.name: tensor for tensor in graph.graph.initializer}
    assert len(names) == len(nodes)
    for name, node in zip(names, nodes):
        if name not in projection:
            module = net.get_submodule(name)
            for key, value in zip(node.input[1:], (module.quant_weight().value, module.bias), strict=True):
                assert list(tensors[key].dims) == list(value.shape)
                tensors[key].CopyFrom(onnx.numpy_helper.from_array(value.numpy(), key))
onnx.save(graph, out)
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ours", default="build/release/bin/yoloquant")
    parser.add_argument("--model", required=True, help="checkpoint")
    parser.add_argument("--calib", required=True, help="calibration images: a folder or a list file")
    parser.add_argument("--images", type=int, default=32, help="how many of them")
    parser.add_argument("--brevitas", help="a Python with brevitas")
    parser.add_argument("--coco", help="labelled data set; mAP is measured on its val2017")
    parser.add_argument("--max-images", type=int, default=50, help="the first so many of them; 0: all")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        listing, images = image_list(args.calib, args.images, os.path.join(folder, "images.txt"))
        baseline = os.path.join(folder, "float.onnx")
        export_baseline(args.ours, args.model, baseline)
        count, threads = str(images), str(args.threads)
        files = {"yoloquant": os.path.join(folder, "ours.onnx")}
        commands = {"yoloquant": [
            args.ours, "quantize", args.model, "--scheme", "w4a16", "--method", "gptq", "--head", "one2many",
            "--calib", listing, "--calib-images", count, "--verify-images", "0", "--threads", threads, "--quiet",
            "--out", files["yoloquant"]]}
        if args.brevitas:
            files["brevitas"] = os.path.join(folder, "brevitas.onnx")
            commands["brevitas"] = [args.brevitas, "-c", BREVITAS, baseline, listing, count, files["brevitas"],
                                    threads]
        results = {name: [] for name in commands}
        for _ in range(args.rounds):
            for name, command in commands.items():
                results[name].append(measure(command, args.threads))
        print("%d images, %d threads, medians of %d rounds" % (images, args.threads, args.rounds))
        print_ratios(results)
        if args.coco:
            for name, file in [("float", baseline)] + list(files.items()):
                result = evaluate(args, file, baseline, "one2many", os.path.join(folder, name))
                print("%-12s mAP50-95 %.4f, fidelity %.4f" % (
                    name, result["metrics"]["mAP_50_95"], result["yoloquant"]["fidelity"]["fidelity"]))


if __name__ == "__main__":
    main()

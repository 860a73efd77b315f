"""Small detectors with random weights, exported by torch.onnx: export_detectors.py FOLDER

The structures are those of YOLOv5 (Focus, C3, SPPF, anchors), v8 (C2f, DFL), v10 (attention, one2one
head with top-k selection) and 11 (C3k2, C2PSA, depthwise class branch), narrow and shallow, from
their public definitions. `--kind`, opset, folded or kept batch norms and dynamic axes vary by file.
"""
import pathlib
import sys
import warnings

import torch
from torch import nn

CLASSES = 3
SIZE = 64


class Conv(nn.Module):
    def __init__(self, i, o, k=1, s=1, g=1, act=True):
        super().__init__()
        self.conv = nn.Conv2d(i, o, k, s, k // 2, groups=g, bias=False)
        self.bn = nn.BatchNorm2d(o, eps=1e-3)
        self.act = nn.SiLU() if act else nn.Identity()

    def forward(self, x):
        return self.act(self.bn(self.conv(x)))


class Focus(nn.Module):
    def __init__(self, i, o):
        super().__init__()
        self.conv = Conv(4 * i, o, 3)

    def forward(self, x):
        parts = [x[..., y::2, z::2] for z in (0, 1) for y in (0, 1)]
        return self.conv(torch.cat(parts, 1))


class Bottleneck(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.cv1 = Conv(c, c, 3)
        self.cv2 = Conv(c, c, 3)

    def forward(self, x):
        return x + self.cv2(self.cv1(x))


class C3(nn.Module):
    def __init__(self, i, o):
        super().__init__()
        h = o // 2
        self.cv1, self.cv2, self.cv3 = Conv(i, h), Conv(i, h), Conv(2 * h, o)
        self.m = nn.Sequential(Bottleneck(h))

    def forward(self, x):
        return self.cv3(torch.cat((self.m(self.cv1(x)), self.cv2(x)), 1))


class C2f(nn.Module):
    def __init__(self, i, o, block=Bottleneck):
        super().__init__()
        self.c = o // 2
        self.cv1 = Conv(i, o)
        self.cv2 = Conv(3 * self.c, o)
        self.m = nn.ModuleList([block(self.c)])

    def forward(self, x):
        y = list(self.cv1(x).chunk(2, 1))
        y.extend(m(y[-1]) for m in self.m)
        return self.cv2(torch.cat(y, 1))


class C3k2(C2f):
    def __init__(self, i, o):
        super().__init__(i, o, lambda c: C3(c, c))


class SPPF(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.cv1, self.cv2 = Conv(c, c // 2), Conv(2 * c, c)
        self.m = nn.MaxPool2d(5, 1, 2)

    def forward(self, x):
        y = [self.cv1(x)]
        y.extend(self.m(y[-1]) for _ in range(3))
        return self.cv2(torch.cat(y, 1))


class Attention(nn.Module):
    def __init__(self, c, heads=2):
        super().__init__()
        self.heads, self.head_dim = heads, c // heads
        self.key_dim = self.head_dim // 2
        self.qkv = Conv(c, c + 2 * self.key_dim * heads, act=False)
        self.proj = Conv(c, c, act=False)
        self.pe = Conv(c, c, 3, g=c, act=False)

    def forward(self, x):
        b, c, h, w = x.shape
        qkv = self.qkv(x).view(b, self.heads, 2 * self.key_dim + self.head_dim, h * w)
        q, k, v = qkv.split([self.key_dim, self.key_dim, self.head_dim], 2)
        attn = ((q.transpose(-2, -1) @ k) * self.key_dim**-0.5).softmax(-1)
        y = (v @ attn.transpose(-2, -1)).view(b, c, h, w)
        return self.proj(y + self.pe(v.reshape(b, c, h, w)))


class PSA(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c = c // 2
        self.cv1, self.cv2 = Conv(c, c), Conv(c, c)
        self.attn = Attention(self.c)
        self.ffn = nn.Sequential(Conv(self.c, c), Conv(c, self.c, act=False))

    def forward(self, x):
        a, b = self.cv1(x).split((self.c, self.c), 1)
        b = b + self.attn(b)
        return self.cv2(torch.cat((a, b + self.ffn(b)), 1))


class DFL(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(16, 1, 1, bias=False)
        self.conv.weight.data[:] = torch.arange(16.0).view(1, 16, 1, 1)

    def forward(self, x):
        b, _, a = x.shape
        return self.conv(x.view(b, 4, 16, a).transpose(2, 1).softmax(1)).view(b, 4, a)


class Detect(nn.Module):
    """YOLOv8's; `depthwise`: the class branch of v10 and 11; `end2end`: rows as v10postprocess."""

    def __init__(self, channels, depthwise=False, end2end=False):
        super().__init__()
        self.end2end = end2end
        self.cv2 = nn.ModuleList(
            nn.Sequential(Conv(c, 16, 3), nn.Conv2d(16, 64, 1)) for c in channels
        )
        self.cv3 = nn.ModuleList(
            nn.Sequential(Conv(c, c, 3, g=c if depthwise else 1), nn.Conv2d(c, CLASSES, 1))
            for c in channels
        )
        self.dfl = DFL()

    def forward(self, xs):
        n = xs[0].shape[0]
        y = [torch.cat((a(x), b(x)), 1) for a, b, x in zip(self.cv2, self.cv3, xs)]
        points, strides = [], []
        for x, s in zip(xs, (8, 16, 32)):
            h, w = x.shape[-2:]
            row, column = torch.arange(h) + 0.5, torch.arange(w) + 0.5
            row, column = torch.meshgrid(row, column, indexing="ij")
            points.append(torch.stack((column, row), -1).view(-1, 2))
            strides.append(torch.full((h * w, 1), float(s)))
        points, strides = torch.cat(points).transpose(0, 1), torch.cat(strides).transpose(0, 1)
        box, cls = torch.cat([i.view(n, 64 + CLASSES, -1) for i in y], 2).split((64, CLASSES), 1)
        near, far = self.dfl(box).chunk(2, 1)
        near, far = points.unsqueeze(0) - near, points.unsqueeze(0) + far
        if not self.end2end:
            boxes = torch.cat(((near + far) / 2, far - near), 1) * strides
            return torch.cat((boxes, cls.sigmoid()), 1)
        boxes = (torch.cat((near, far), 1) * strides).transpose(1, 2)
        scores = cls.sigmoid().transpose(1, 2)
        _, index = scores.amax(-1).topk(20)
        index = index.unsqueeze(-1)
        boxes = boxes.gather(1, index.repeat(1, 1, 4))
        scores, index = scores.gather(1, index.repeat(1, 1, CLASSES)).flatten(1).topk(20)
        boxes = boxes.gather(1, (index // CLASSES).unsqueeze(-1).repeat(1, 1, 4))
        return torch.cat((boxes, scores[..., None], (index % CLASSES)[..., None].float()), -1)


class AnchorDetect(nn.Module):
    """YOLOv5's: three anchor boxes a cell."""

    def __init__(self, channels):
        super().__init__()
        self.m = nn.ModuleList(nn.Conv2d(c, 3 * (5 + CLASSES), 1) for c in channels)
        self.register_buffer("anchors", torch.rand(3, 3, 2) * 4 + 1)

    def forward(self, xs):
        z = []
        for i, (m, x) in enumerate(zip(self.m, xs)):
            stride = 8 * 2**i
            x = m(x)
            b, _, ny, nx = x.shape
            x = x.view(b, 3, 5 + CLASSES, ny, nx).permute(0, 1, 3, 4, 2).contiguous()
            yv, xv = torch.meshgrid(torch.arange(ny), torch.arange(nx), indexing="ij")
            grid = torch.stack((xv, yv), 2).expand(1, 3, ny, nx, 2) - 0.5
            sizes = (self.anchors[i] * stride).view(1, 3, 1, 1, 2).expand(1, 3, ny, nx, 2)
            xy, wh, conf = x.sigmoid().split((2, 2, 1 + CLASSES), 4)
            y = torch.cat(((xy * 2 + grid) * stride, (wh * 2) ** 2 * sizes, conf), 4)
            z.append(y.view(b, -1, 5 + CLASSES))
        return torch.cat(z, 1)


class Strange(nn.Module):
    """Operators that no detector block has: they stay as they are."""

    def __init__(self, c):
        super().__init__()
        self.mix = nn.Parameter(torch.randn(c, c) * 0.2)
        self.up = nn.ConvTranspose2d(c, c, 2, 2)

    def forward(self, x):
        x = nn.functional.gelu(torch.einsum("bchw,cd->bdhw", x, self.mix))
        return nn.functional.avg_pool2d(self.up(x), 2) + torch.cumsum(x, 1) * 0.01


class Detector(nn.Module):
    def __init__(self, kind):
        super().__init__()
        block = {"v5": C3, "v8": C2f, "v10": C2f, "v11": C3k2, "strange": C2f}[kind]
        stem = Focus(3, 8) if kind == "v5" else Conv(3, 8, 3, 2)
        self.model = nn.Sequential(stem, Conv(8, 16, 3, 2), block(16, 16), Conv(16, 16, 3, 2))
        extra = {"v10": PSA, "v11": PSA, "strange": Strange}.get(kind, lambda _: nn.Identity())
        self.p4 = nn.Sequential(Conv(16, 16, 3, 2), block(16, 16))
        self.p5 = nn.Sequential(Conv(16, 32, 3, 2), SPPF(32), extra(32))
        self.up = nn.Upsample(scale_factor=2)
        self.n4, self.n3 = block(48, 16), block(32, 16)
        channels = (16, 16, 32)
        self.head = (
            AnchorDetect(channels)
            if kind == "v5"
            else Detect(channels, depthwise=kind in ("v10", "v11"), end2end=kind == "v10")
        )

    def forward(self, x):
        p3 = self.model(x)
        p4 = self.p4(p3)
        p5 = self.p5(p4)
        n4 = self.n4(torch.cat((self.up(p5), p4), 1))
        n3 = self.n3(torch.cat((self.up(n4), p3), 1))
        return self.head([n3, n4, p5])


def export(folder, kind, opset, keep_norms=False, dynamic=False):
    torch.manual_seed(opset)
    model = Detector(kind).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 1.5)
            module.weight.data.uniform_(0.8, 1.6)
            module.bias.data.normal_(0, 0.2)
    name = f"{kind}_{opset}{'_norms' if keep_norms else ''}{'_dynamic' if dynamic else ''}.onnx"
    mode = torch.onnx.TrainingMode
    torch.onnx.export(
        model,
        torch.zeros(1, 3, SIZE, SIZE),
        folder / name,
        opset_version=opset,
        dynamo=False,
        training=mode.PRESERVE if keep_norms else mode.EVAL,
        do_constant_folding=not keep_norms,
        input_names=["images"],
        output_names=["output0"],
        dynamic_axes={"images": {0: "batch", 2: "height", 3: "width"}} if dynamic else None,
    )


warnings.simplefilter("ignore")
torch.set_num_threads(1)
target = pathlib.Path(sys.argv[1])
for arguments in (
    ("v5", 11),
    ("v5", 17, False, True),
    ("v8", 13),
    ("v8", 11, True),
    ("v8", 20, False, True),
    ("v10", 13),
    ("v10", 17, True),
    ("v11", 17),
    ("v11", 20, True),
    ("v11", 13, False, True),
    ("strange", 17),
):
    with torch.no_grad():
        export(target, *arguments)

"""compliance-layers.safetensors: what each layer gives, and its gradients, for packages/training/test/fixtures/compliance.

A case here and one in layer-cases.ts have the same name. Layers are written in PyTorch's operations on values in TensorFlow.js's layout, so that
gradients come in that layout too. Everything is computed in float64 from values that are float32, and stored as float32.
"""

import zlib
from dataclasses import dataclass
from typing import Callable

import numpy as np
import torch
import torch.nn.functional as F

from golden_files import write_json, write_tensors

Tensor = torch.Tensor


@dataclass
class Case:
    inputs: list
    weights: dict
    forward: Callable  # (inputs, weights) -> output
    # The range of the inputs: -spread to spread.
    spread: float = 2.0
    # Where evaluation computes something else than training.
    inference: Callable | None = None
    # Weights that training rewrites: (inputs, weights) -> {name: new value}
    statistics: Callable | None = None
    # Equal inputs on purpose.
    ties: bool = False


# ---- Operations on channels-last tensors, kernels in TensorFlow.js's layout


def nchw(x: Tensor) -> Tensor:
    return x.permute(0, 3, 1, 2)


def nhwc(x: Tensor) -> Tensor:
    return x.permute(0, 2, 3, 1)


def pair(value) -> tuple:
    return (value, value) if isinstance(value, int) else tuple(value)


def same_padding(size: int, kernel: int, stride: int, dilation: int = 1) -> tuple:
    """TensorFlow's: as little as ceil(size / stride) outputs need, the odd one after."""
    total = max((-(-size // stride) - 1) * stride + (kernel - 1) * dilation + 1 - size, 0)
    return total // 2, total - total // 2


def padded(x: Tensor, kernel, strides, dilation, padding: str, value: float = 0.0) -> Tensor:
    """x is channels first here."""
    if padding == "valid":
        return x
    top, bottom = same_padding(x.shape[2], kernel[0], strides[0], dilation[0])
    left, right = same_padding(x.shape[3], kernel[1], strides[1], dilation[1])
    return F.pad(x, (left, right, top, bottom), value=value)


def conv(x: Tensor, kernel: Tensor, bias=None, strides=1, padding="valid", dilation=1) -> Tensor:
    strides, dilation = pair(strides), pair(dilation)
    x = padded(nchw(x), kernel.shape[:2], strides, dilation, padding)
    return nhwc(F.conv2d(x, kernel.permute(3, 2, 0, 1), bias, stride=strides, dilation=dilation))


def depthwise(x: Tensor, kernel: Tensor, bias=None, strides=1, padding="valid") -> Tensor:
    height, width, channels, multiplier = kernel.shape
    strides = pair(strides)
    x = padded(nchw(x), (height, width), strides, (1, 1), padding)
    grouped = kernel.permute(2, 3, 0, 1).reshape(channels * multiplier, 1, height, width)
    return nhwc(F.conv2d(x, grouped, bias, stride=strides, groups=channels))


def transposed_conv(x: Tensor, kernel: Tensor, bias=None, strides=1, padding="valid") -> Tensor:
    """The kernel is [height, width, out, in]. Of the whole result, `same` keeps size * stride values, and TensorFlow's padding falls away."""
    stride = pair(strides)
    whole = F.conv_transpose2d(nchw(x), kernel.permute(3, 2, 0, 1), stride=stride)
    for axis in (2, 3):
        size, step, length = x.shape[axis - 1], stride[axis - 2], kernel.shape[axis - 2]
        kept = size * step + (max(length - step, 0) if padding == "valid" else 0)
        before = max(length - step, 0) // 2 if padding == "same" else 0
        missing = max(before + kept - whole.shape[axis], 0)
        whole = F.pad(whole, (0, missing) if axis == 3 else (0, 0, 0, missing)).narrow(axis, before, kept)
    return nhwc(whole if bias is None else whole + bias.reshape(1, -1, 1, 1))


def max_pool(x: Tensor, size, strides=None, padding="valid") -> Tensor:
    size = pair(size)
    strides = pair(strides or size)
    return nhwc(F.max_pool2d(padded(nchw(x), size, strides, (1, 1), padding, -np.inf), size, strides))


def average_pool(x: Tensor, size, strides=None, padding="valid") -> Tensor:
    """Over the values that are there: padding does not count."""
    size = pair(size)
    strides = pair(strides or size)
    sums = lambda y: F.avg_pool2d(padded(nchw(y), size, strides, (1, 1), padding), size, strides)
    return nhwc(sums(x) / sums(torch.ones_like(x)))


def normalised(x: Tensor, axes: tuple, epsilon: float, gamma=None, beta=None) -> Tensor:
    mean = x.mean(dim=axes, keepdim=True)
    variance = x.var(dim=axes, correction=0, keepdim=True)
    result = (x - mean) / torch.sqrt(variance + epsilon)
    result = result if gamma is None else result * gamma
    return result if beta is None else result + beta


def upsampled_bilinear(x: Tensor, factor: int) -> Tensor:
    """TensorFlow's first form of it: source = target / factor, without half a pixel's shift."""

    def weights(size: int) -> Tensor:
        source = torch.arange(size * factor, dtype=x.dtype) / factor
        low = source.floor().long()
        high = torch.clamp(low + 1, max=size - 1)
        share = source - low
        one = torch.eye(size, dtype=x.dtype)
        return one[low] * (1 - share)[:, None] + one[high] * share[:, None]

    return torch.einsum("nhwc,ih,jw->nijc", x, weights(x.shape[1]), weights(x.shape[2]))


# ---- The cases

CASES: dict = {}
IMAGE = (2, 6, 6, 3)
ODD = (2, 7, 5, 3)
WIDE = (2, 40)


def case(name: str, inputs: list, forward: Callable, weights: dict | None = None, **more) -> None:
    assert name not in CASES
    CASES[name] = Case(inputs, weights or {}, forward, **more)


def conv_case(name: str, shape=IMAGE, kernel=(3, 3), filters=4, bias=True, activation=lambda x: x, **options) -> None:
    weights = {"kernel": (*kernel, shape[3], filters)} | ({"bias": (filters,)} if bias else {})
    forward = lambda x, w: activation(conv(x[0], w["kernel"], w.get("bias"), **options))
    case(f"conv2d {name}", [shape], forward, weights)


conv_case("valid")
conv_case("same", padding="same")
conv_case("same, stride 2, even size", padding="same", strides=2)
conv_case("same, stride 2, odd size", shape=ODD, padding="same", strides=2)
conv_case("valid, stride 2", shape=ODD, strides=2)
conv_case("valid, stride 3 beyond the kernel", shape=(2, 7, 7, 3), kernel=(2, 2), strides=3)
conv_case("same, strides 1 and 2, kernel 5 x 3", kernel=(5, 3), padding="same", strides=(1, 2))
conv_case("same, even kernel", kernel=(2, 4), padding="same")
conv_case("same, dilation 2", padding="same", dilation=2)
conv_case("valid, dilation 2", shape=(2, 8, 7, 3), dilation=2)
conv_case("1 x 1", kernel=(1, 1))
conv_case("1 x 1, stride 2, without bias", kernel=(1, 1), padding="same", strides=2, bias=False)
conv_case("as large as the image", kernel=(6, 6))
conv_case("of one channel to 17", shape=(2, 6, 6, 1), filters=17, padding="same")
conv_case("of 32 channels", shape=(1, 4, 4, 32), filters=8, padding="same")
conv_case("of 19 channels to 33", shape=(1, 9, 9, 19), filters=33, padding="same")
conv_case("with relu", padding="same", activation=F.relu)
conv_case("with sigmoid", padding="same", activation=torch.sigmoid)
conv_case("with elu", padding="same", activation=F.elu)

for name, shape, multiplier, options in [
    ("same", IMAGE, 1, dict(padding="same")),
    ("valid, multiplier 2", IMAGE, 2, dict()),
    ("same, stride 2", ODD, 1, dict(padding="same", strides=2)),
    ("of 37 channels", (1, 6, 6, 37), 1, dict(padding="same")),
    ("same, stride 2, even size, multiplier 2", IMAGE, 2, dict(padding="same", strides=2)),
]:
    case(
        f"depthwiseConv2d {name}",
        [shape],
        lambda x, w, options=options: depthwise(x[0], w["depthwise_kernel"], w["bias"], **options),
        {"depthwise_kernel": (3, 3, shape[3], multiplier), "bias": (shape[3] * multiplier,)},
    )

for name, multiplier, options in [("same", 1, dict(padding="same")), ("valid, stride 2, multiplier 2", 2, dict(strides=2))]:
    case(
        f"separableConv2d {name}",
        [IMAGE],
        lambda x, w, options=options: conv(depthwise(x[0], w["depthwise_kernel"], None, **options), w["pointwise_kernel"], w["bias"]),
        {"depthwise_kernel": (3, 3, 3, multiplier), "pointwise_kernel": (1, 1, 3 * multiplier, 5), "bias": (5,)},
    )

for name, kernel, options in [
    ("same, stride 2", (3, 3), dict(padding="same", strides=2)),
    ("valid, stride 2", (3, 3), dict(strides=2)),
    ("same, stride 1", (3, 3), dict(padding="same")),
    ("same, stride 2, even kernel", (4, 4), dict(padding="same", strides=2)),
    ("valid, stride as the kernel", (2, 2), dict(strides=2)),
]:
    case(
        f"conv2dTranspose {name}",
        [(2, 4, 5, 3)],
        lambda x, w, options=options: transposed_conv(x[0], w["kernel"], w["bias"], **options),
        {"kernel": (*kernel, 4, 3), "bias": (4,)},
    )

for name, shape, size, strides, padding in [
    ("2", IMAGE, 2, None, "valid"),
    ("2, odd size", ODD, 2, None, "valid"),
    ("2, odd size, same", ODD, 2, None, "same"),
    ("3, stride 2, valid", ODD, 3, 2, "valid"),
    ("3, stride 2, same", IMAGE, 3, 2, "same"),
    ("3, stride 1, same", IMAGE, 3, 1, "same"),
    ("2 of 19 channels", (1, 6, 6, 19), 2, None, "valid"),
    ("3 x 2, strides 2 and 1", ODD, (3, 2), (2, 1), "valid"),
]:
    case(f"maxPooling2d {name}", [shape], lambda x, w, a=(size, strides, padding): max_pool(x[0], *a))
    case(f"averagePooling2d {name}", [shape], lambda x, w, a=(size, strides, padding): average_pool(x[0], *a))
# Behind a ReLU, whole windows are equal; the first of them in reading order gets the gradient.
case("maxPooling2d of equal values", [IMAGE], lambda x, w: max_pool(x[0], 2), ties=True)
case("globalAveragePooling2d", [ODD], lambda x, w: x[0].mean(dim=(1, 2)))
case("globalMaxPooling2d", [ODD], lambda x, w: x[0].amax(dim=(1, 2)))


def batch_norm_case(name: str, shape: tuple, momentum=0.99, epsilon=1e-3, gamma=True, beta=True) -> None:
    axes = tuple(range(len(shape) - 1))
    channels = (shape[-1],)
    used = {"gamma": gamma, "beta": beta, "moving_mean": True, "moving_variance": True}

    def inference(x: list, w: dict) -> Tensor:
        result = (x[0] - w["moving_mean"]) / torch.sqrt(w["moving_variance"] + epsilon)
        return result * w.get("gamma", 1) + w.get("beta", 0)

    def statistics(x: list, w: dict) -> dict:
        batch = {"moving_mean": x[0].mean(dim=axes), "moving_variance": x[0].var(dim=axes, correction=0)}
        return {key: w[key] * momentum + value * (1 - momentum) for key, value in batch.items()}

    case(
        f"batchNormalization {name}",
        [shape],
        lambda x, w: normalised(x[0], axes, epsilon, w.get("gamma"), w.get("beta")),
        {key: channels for key, is_used in used.items() if is_used},
        inference=inference,
        statistics=statistics,
    )


batch_norm_case("of images", IMAGE)
batch_norm_case("of images, other constants", ODD, momentum=0.8, epsilon=1e-5)
batch_norm_case("of rows", (8, 5))
batch_norm_case("of 37 channels", (2, 3, 3, 37))
batch_norm_case("of one channel", (4, 3, 3, 1))
batch_norm_case("without scale", IMAGE, gamma=False)
batch_norm_case("without offset", IMAGE, beta=False)

NORMALISED = {"gamma": (3,), "beta": (3,)}
case("layerNormalization of images", [IMAGE], lambda x, w: normalised(x[0], (3,), 1e-3, w["gamma"], w["beta"]), NORMALISED)
case(
    "layerNormalization of rows",
    [(4, 9)],
    lambda x, w: normalised(x[0], (1,), 1e-5, w["gamma"], w["beta"]),
    {"gamma": (9,), "beta": (9,)},
)
case(
    "layerNormalization over three axes",
    [(3, 4, 4, 2)],
    lambda x, w: normalised(x[0], (1, 2, 3), 1e-3, w["gamma"], w["beta"]),
    {"gamma": (4, 4, 2), "beta": (4, 4, 2)},
)


def dense_case(name: str, shape: tuple, units=5, bias=True, activation=lambda x: x) -> None:
    weights = {"kernel": (shape[-1], units)} | ({"bias": (units,)} if bias else {})
    case(f"dense {name}", [shape], lambda x, w: activation(x[0] @ w["kernel"] + w.get("bias", 0)), weights)


dense_case("of rows", (4, 7))
dense_case("of one row", (1, 33), units=18)
dense_case("of 19 rows, 67 to 35", (19, 67), units=35)
dense_case("with relu", (4, 7), activation=F.relu)
dense_case("with tanh", (4, 7), activation=torch.tanh)
dense_case("without bias", (4, 7), bias=False)
dense_case("of sequences", (2, 3, 7))
dense_case("of images", (2, 3, 3, 4))

ELEMENTWISE = {
    "reLU": F.relu,
    "leakyReLU": lambda x: F.leaky_relu(x, 0.3),
    "leakyReLU of 0.01": lambda x: F.leaky_relu(x, 0.01),
    "elu": F.elu,
    "thresholdedReLU": lambda x: torch.where(x > 1, x, 0 * x),
    "activation relu": F.relu,
    "activation relu6": F.relu6,
    "activation elu": F.elu,
    "activation selu": F.selu,
    "activation sigmoid": torch.sigmoid,
    "activation hardSigmoid": lambda x: torch.clamp(0.2 * x + 0.5, 0, 1),
    "activation tanh": torch.tanh,
    "activation softplus": F.softplus,
    "activation softsign": F.softsign,
    "activation swish": F.silu,
    "activation mish": F.mish,
    "activation gelu": F.gelu,
    "activation gelu_new": lambda x: F.gelu(x, approximate="tanh"),
    "activation softmax": lambda x: F.softmax(x, dim=-1),
    "activation logSoftmax": lambda x: F.log_softmax(x, dim=-1),
    "activation linear": lambda x: x * 1,
}
for name, function in ELEMENTWISE.items():
    case(name, [WIDE], lambda x, w, f=function: f(x[0]), spread=9.0)
case("reLU up to 6", [WIDE], lambda x, w: F.relu6(x[0]), spread=9.0)
case("softmax", [(4, 10)], lambda x, w: F.softmax(x[0], dim=-1), spread=9.0)
prelu = lambda x, w: F.relu(x[0]) - w["alpha"] * F.relu(-x[0])
case("prelu", [(2, 3, 3, 2)], prelu, {"alpha": (3, 3, 2)})
case("prelu with a slope a channel", [IMAGE], prelu, {"alpha": (1, 1, 3)})

SMALL = (2, 3, 3, 4)
case("add", [SMALL, SMALL], lambda x, w: x[0] + x[1])
case("add of three", [SMALL, SMALL, SMALL], lambda x, w: x[0] + x[1] + x[2])
case("multiply", [SMALL, SMALL], lambda x, w: x[0] * x[1])
case("average", [SMALL, SMALL], lambda x, w: (x[0] + x[1]) / 2)
case("maximum", [SMALL, SMALL], lambda x, w: torch.maximum(x[0], x[1]))
case("minimum", [SMALL, SMALL], lambda x, w: torch.minimum(x[0], x[1]))
case("multiply by a weight a channel", [SMALL, (2, 1, 1, 4)], lambda x, w: x[0] * x[1])
case("concatenate", [SMALL, (2, 3, 3, 2)], lambda x, w: torch.cat(x, dim=3))
case("concatenate of three rows", [(3, 4), (3, 1), (3, 2)], lambda x, w: torch.cat(x, dim=1))
case("concatenate along the height", [SMALL, (2, 2, 3, 4)], lambda x, w: torch.cat(x, dim=1))

case("zeroPadding2d", [SMALL], lambda x, w: F.pad(x[0], (0, 0, 1, 1, 1, 1)))
case("zeroPadding2d of four widths", [SMALL], lambda x, w: F.pad(x[0], (0, 0, 0, 3, 1, 2)))
case("cropping2D", [IMAGE], lambda x, w: x[0][:, 1:-2, 0:-1])
case("upSampling2d", [SMALL], lambda x, w: x[0].repeat_interleave(2, dim=1).repeat_interleave(2, dim=2))
case("upSampling2d of 3 x 1", [SMALL], lambda x, w: x[0].repeat_interleave(3, dim=1))
case("upSampling2d bilinear", [SMALL], lambda x, w: upsampled_bilinear(x[0], 2))
case("flatten", [SMALL], lambda x, w: x[0].reshape(2, -1))
case("reshape", [SMALL], lambda x, w: x[0].reshape(2, 6, 6))
case("permute", [SMALL], lambda x, w: x[0].permute(0, 3, 1, 2))
case("repeatVector", [(2, 5)], lambda x, w: x[0][:, None, :].repeat(1, 3, 1))
case("rescaling", [SMALL], lambda x, w: x[0] / 127.5 - 1)


# ---- Values


def distinct(random: np.random.Generator, shape: tuple, spread: float) -> np.ndarray:
    """Numbers from -spread to spread in any order, no two alike and none 0, a little off a grid."""
    size = int(np.prod(shape))
    grid = (random.permutation(size) + 0.5 + random.uniform(-0.2, 0.2, size)) / size
    return ((2 * grid - 1) * spread).reshape(shape).astype(np.float32)


def weight_values(random: np.random.Generator, name: str, shape: tuple) -> np.ndarray:
    if name in ("gamma", "moving_variance", "alpha"):
        return random.uniform(0.2, 1.5, shape).astype(np.float32)
    if "kernel" in name:
        return (random.standard_normal(shape) * np.sqrt(2 / np.prod(shape[:-1]))).astype(np.float32)
    return random.uniform(-0.5, 0.5, shape).astype(np.float32)


@dataclass
class Values:
    inputs: list
    weights: dict
    cotangent: np.ndarray


def values_of(name: str, case: Case) -> Values:
    random = np.random.default_rng(zlib.crc32(name.encode()))
    inputs = [distinct(random, shape, case.spread) for shape in case.inputs]
    if case.ties:
        inputs = [np.maximum(np.round(x), 0) for x in inputs]
    weights = {key: weight_values(random, key, shape) for key, shape in case.weights.items()}
    tensors = [torch.tensor(x) for x in inputs], {key: torch.tensor(w) for key, w in weights.items()}
    cotangent = random.uniform(-1, 1, case.forward(*tensors).shape).astype(np.float32)
    return Values(inputs, weights, cotangent)


def outcome(case: Case, values: Values, dtype: torch.dtype) -> dict:
    inputs = [torch.tensor(x, dtype=dtype, requires_grad=True) for x in values.inputs]
    weights = {key: torch.tensor(w, dtype=dtype, requires_grad=not key.startswith("moving")) for key, w in values.weights.items()}
    output = case.forward(inputs, weights)
    output.backward(torch.tensor(values.cotangent, dtype=dtype))
    found = {"output": output}
    found |= {f"gradient/input{index}": x.grad for index, x in enumerate(inputs)}
    found |= {f"gradient/{key}": w.grad for key, w in weights.items() if w.requires_grad}
    with torch.no_grad():
        if case.inference is not None:
            found["inference"] = case.inference(inputs, weights)
        if case.statistics is not None:
            found |= {f"new/{key}": value for key, value in case.statistics(inputs, weights).items()}
    return {key: value.detach().numpy().astype(np.float64) for key, value in found.items()}


def relative(some: dict, others: dict) -> float:
    """The largest relative L2 distance."""
    return max(float(np.linalg.norm(some[key] - others[key]) / (np.linalg.norm(others[key]) or 1)) for key in others)


def make_compliance_layers() -> None:
    tensors, rounding = {}, {}
    for name, case in CASES.items():
        values = values_of(name, case)
        double = outcome(case, values, torch.float64)
        rounding[name] = relative(outcome(case, values, torch.float32), double)
        assert rounding[name] < 2e-6, f"{name}: float32 is {rounding[name]:.1e} from float64"
        if not case.ties:
            nudged = Values([x * np.float32(1 + 1e-5) for x in values.inputs], values.weights, values.cotangent)
            moved = relative(outcome(case, nudged, torch.float64), double)
            assert moved < 1e-3, f"{name}: an activation lies at a kink"
        given = {f"input{index}": x for index, x in enumerate(values.inputs)}
        given |= {f"initial/{key}": w for key, w in values.weights.items()} | {"cotangent": values.cotangent}
        for key, value in (given | double).items():
            tensors[f"{name}/{key}"] = value.astype(np.float32)
    path = write_tensors("compliance-layers.safetensors", tensors, 600_000)
    write_json(
        "compliance-layers.json",
        {"source": f"torch {torch.__version__}, scripts/golden/make-golden.py", "relativeDifferenceOfFloat32": rounding},
    )
    worst = max(rounding, key=rounding.get)
    print(f"  {len(CASES)} layers: {path.stat().st_size} bytes, float32 within {rounding[worst]:.1e} of float64 ({worst})")

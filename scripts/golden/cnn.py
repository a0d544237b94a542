"""cnn.safetensors, cnn-batchnorm.safetensors: one small net's gradients and ten steps."""

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.numpy import load_file

from golden_files import write_json, write_tensors
from optimizers import torch_optimizer

BATCH, SIDE, CLASSES = 12, 12, 10
BATCHNORM_EPSILON = 1e-3


def initial_weights(random: np.random.Generator, batchnorm: bool) -> dict:
    """In TensorFlow.js's layout: convolutions HWIO, dense [in, out], dense1 reading its input flattened in NHWC order."""
    shapes = {
        "conv1/kernel": (3, 3, 1, 4),
        "conv2/kernel": (3, 3, 4, 8),
        "dense1/kernel": ((SIDE // 4) ** 2 * 8, 16),
        "dense2/kernel": (16, CLASSES),
    }
    weights = {}
    for name, shape in shapes.items():
        layer = name.split("/")[0]
        weights[name] = random.standard_normal(shape) * np.sqrt(2 / np.prod(shape[:-1]))
        weights[f"{layer}/bias"] = random.uniform(0.1, 0.4, shape[-1])
    if batchnorm:
        weights["bn/gamma"] = random.uniform(0.5, 1.5, 4)
        weights["bn/beta"] = random.uniform(-0.2, 0.4, 4)
    return {name: value.astype(np.float32) for name, value in weights.items()}


def forward(weights: dict, images: torch.Tensor, batchnorm: bool) -> tuple:
    """PyTorch's channels-first operations on weights kept in TensorFlow.js's layout, so that gradients come in that layout too.

    Also returns what the kinks see (the inputs of each ReLU, and of each pooling), for a look at how near they are to tipping over.
    """

    def convolution(x: torch.Tensor, layer: str) -> torch.Tensor:
        return F.conv2d(x, weights[f"{layer}/kernel"].permute(3, 2, 0, 1), weights[f"{layer}/bias"], padding="same")

    x = images.permute(0, 3, 1, 2)
    a1 = convolution(x, "conv1")
    if batchnorm:
        a1 = F.batch_norm(a1, None, None, weights["bn/gamma"], weights["bn/beta"], training=True, eps=BATCHNORM_EPSILON)
    x = F.max_pool2d(F.relu(a1), 2)
    a2 = convolution(x, "conv2")
    x = F.max_pool2d(F.relu(a2), 2)
    x = x.permute(0, 2, 3, 1).reshape(len(images), -1)
    a3 = x @ weights["dense1/kernel"] + weights["dense1/bias"]
    logits = F.relu(a3) @ weights["dense2/kernel"] + weights["dense2/bias"]
    return logits, [a1, a2, a3], [a1, a2]


def forward_channels_last(weights: dict, images: np.ndarray, batchnorm: bool) -> np.ndarray:
    """The same function once more, in numpy and channels last as TensorFlow.js computes it, without a line in common with the above."""

    def convolution(x: np.ndarray, kernel: np.ndarray, bias: np.ndarray) -> np.ndarray:
        height, width = x.shape[1:3]
        padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
        return bias + sum(
            padded[:, row : row + height, column : column + width, :] @ kernel[row, column] for row in range(3) for column in range(3)
        )

    def pool(x: np.ndarray) -> np.ndarray:
        n, height, width, channels = x.shape
        return x.reshape(n, height // 2, 2, width // 2, 2, channels).max(axis=(2, 4))

    w = {name: value.astype(np.float64) for name, value in weights.items()}
    x = convolution(images.astype(np.float64), w["conv1/kernel"], w["conv1/bias"])
    if batchnorm:
        mean, variance = x.mean(axis=(0, 1, 2)), x.var(axis=(0, 1, 2))  # numpy's var is the biased one
        x = (x - mean) / np.sqrt(variance + BATCHNORM_EPSILON) * w["bn/gamma"] + w["bn/beta"]
    x = pool(np.maximum(x, 0))
    x = pool(np.maximum(convolution(x, w["conv2/kernel"], w["conv2/bias"]), 0))
    x = np.maximum(x.reshape(len(x), -1) @ w["dense1/kernel"] + w["dense1/bias"], 0)
    return x @ w["dense2/kernel"] + w["dense2/bias"]


def kink_margin(relu_inputs: list, pool_inputs: list) -> float:
    """How much any ReLU input or pooling winner must move before the gradient jumps."""
    margins = [a.abs().min().item() for a in relu_inputs]
    for a in pool_inputs:
        windows = F.relu(a).unfold(2, 2, 2).unfold(3, 2, 2).flatten(-2).sort(dim=-1).values
        best, second = windows[..., 3], windows[..., 2]
        margins.append((best - second)[best > 0].min().item())
    return min(margins)


def parameters_of(weights: dict, dtype: torch.dtype) -> dict:
    return {name: torch.tensor(value, dtype=dtype, requires_grad=True) for name, value in weights.items()}


def first_gradient(weights: dict, images: np.ndarray, labels: np.ndarray, batchnorm: bool, dtype: torch.dtype) -> dict:
    parameters = parameters_of(weights, dtype)
    logits, relu_inputs, pool_inputs = forward(parameters, torch.tensor(images, dtype=dtype), batchnorm)
    loss = F.cross_entropy(logits, torch.tensor(labels))
    loss.backward()
    return {
        "loss": loss.item(),
        "logits": logits.detach().numpy(),
        "gradients": {name: p.grad.numpy().copy() for name, p in parameters.items()},
        "margin": kink_margin([a.detach() for a in relu_inputs], [a.detach() for a in pool_inputs]),
    }


def train(weights: dict, images: np.ndarray, labels: np.ndarray, spec: dict, dtype: torch.dtype) -> tuple:
    parameters = parameters_of(weights, dtype)
    optimizer = torch_optimizer(spec, list(parameters.values()))
    losses = []
    for _ in range(10):
        optimizer.zero_grad()
        logits, _, _ = forward(parameters, torch.tensor(images, dtype=dtype), False)
        loss = F.cross_entropy(logits, torch.tensor(labels))
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses, {name: p.detach().numpy().copy() for name, p in parameters.items()}


def furthest(some: dict, others: dict) -> float:
    return max(float(np.max(np.abs(value - others[name]))) for name, value in some.items())


def make_images(random: np.random.Generator) -> tuple:
    """Grey levels of a byte image: a bright bar whose place depends on the label, in noise."""
    labels = np.arange(BATCH) % CLASSES
    images = random.integers(0, 90, (BATCH, SIDE, SIDE, 1))
    for image, label in zip(images, labels):
        image[label : label + 3, 2:10] += 160
    return (images / 255).astype(np.float32), labels


TRAINED = {
    "adam10": dict(kind="adam", learningRate=0.001, beta1=0.9, beta2=0.999, epsilon=1e-8, weightDecay=0.0),
    "sgd10": dict(kind="sgd", learningRate=0.05, momentum=0.9, nesterov=False, weightDecay=0.0),
}


def make_cnn(name: str, seed: int, batchnorm: bool, optimizers: dict) -> None:
    random = np.random.default_rng(seed)
    images, labels = make_images(random)
    weights = initial_weights(random, batchnorm)

    single = first_gradient(weights, images, labels, batchnorm, torch.float32)
    double = first_gradient(weights, images, labels, batchnorm, torch.float64)
    difference = furthest(single["gradients"], double["gradients"])
    assert difference < 1e-5 * max(np.max(np.abs(g)) for g in double["gradients"].values()), difference
    assert single["margin"] > 2e-5, f"an activation lies {single['margin']:.1e} from a kink: take another seed than {seed}"
    for key, gradient in double["gradients"].items():
        units = np.max(np.abs(gradient), axis=tuple(range(gradient.ndim - 1)))
        # A bias that BatchNorm follows shifts the mean alone: its true gradient is 0.
        assert (key == "conv1/bias" and batchnorm) or np.min(units) > 1e-4, f"{key} has a dead unit: take another seed than {seed}"
    print(f"  {name}: loss {single['loss']:.7f}, gradients within {difference:.1e} of float64, kinks {single['margin']:.1e} away")

    tensors = {"images": images, "labels": labels.astype(np.float32), "logits": single["logits"]}
    tensors |= {f"initial/{key}": value for key, value in weights.items()}
    tensors |= {f"gradient/{key}": value for key, value in single["gradients"].items()}
    info = {
        "source": f"torch {torch.__version__}, scripts/golden/make-golden.py",
        "loss": single["loss"],
        "gradientDifferenceToFloat64": difference,
    }
    if batchnorm:
        info["epsilon"] = BATCHNORM_EPSILON
        a1 = F.conv2d(
            torch.tensor(images).permute(0, 3, 1, 2), torch.tensor(weights["conv1/kernel"]).permute(3, 2, 0, 1), padding="same"
        ) + torch.tensor(weights["conv1/bias"]).reshape(1, 4, 1, 1)
        tensors["statistics/mean"] = a1.mean(dim=(0, 2, 3)).numpy()
        tensors["statistics/variance"] = a1.var(dim=(0, 2, 3), correction=0).numpy()
    for key, spec in optimizers.items():
        losses, after = train(weights, images, labels, spec, torch.float32)
        losses64, after64 = train(weights, images, labels, spec, torch.float64)
        tensors |= {f"{key}/{parameter}": value for parameter, value in after.items()}
        info[key] = {
            "spec": spec,
            "losses": losses,
            "lossDifferenceToFloat64": max(abs(a - b) for a, b in zip(losses, losses64)),
            "parameterDifferenceToFloat64": furthest(after, after64),
        }
        print(f"  {name} {key}: losses {losses[0]:.4f} .. {losses[-1]:.4f}, parameters within {info[key]['parameterDifferenceToFloat64']:.1e}")
        assert losses[-1] < losses[0]

    path = write_tensors(f"{name}.safetensors", tensors, 200_000)
    write_json(f"{name}.json", info)

    stored = load_file(path)
    stored_weights = {key.removeprefix("initial/"): value for key, value in stored.items() if key.startswith("initial/")}
    channels_last = forward_channels_last(stored_weights, stored["images"], batchnorm)
    assert np.max(np.abs(channels_last - double["logits"])) < 1e-12
    assert np.max(np.abs(channels_last - stored["logits"])) < 1e-5

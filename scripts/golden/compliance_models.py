"""compliance-models.safetensors: three small models, each before and after twenty steps, for packages/training/test/fixtures/compliance.

The nets are those of trained-models.ts, with parameters of the same names. Trained in float64 from float32 values and stored as float32; the same
training in float32 says what rounding alone does to it.
"""

from dataclasses import dataclass
from typing import Callable

import numpy as np
import torch
import torch.nn.functional as F

from compliance_layers import conv, max_pool
from golden_files import write_json, write_tensors
from optimizers import torch_optimizer

STEPS, BATCH, CLASSES = 20, 12, 10
SPECS = {
    "adam": dict(kind="adam", learningRate=0.001, beta1=0.9, beta2=0.999, epsilon=1e-8, weightDecay=0.0),
    "sgd": dict(kind="sgd", learningRate=0.02, momentum=0.9, nesterov=False, weightDecay=0.0),
}


@dataclass
class BatchNorm:
    momentum: float
    epsilon: float


class Pass:
    """One pass of a net over a batch, in training: its parameters by name, and the moving statistics that it leaves."""

    def __init__(self, parameters: dict, statistics: dict):
        self.parameters = parameters
        self.statistics = statistics

    def conv(self, x, layer: str, **options):
        return conv(x, self.parameters[f"{layer}/kernel"], self.parameters.get(f"{layer}/bias"), **options)

    def dense(self, x, layer: str):
        return x @ self.parameters[f"{layer}/kernel"] + self.parameters[f"{layer}/bias"]

    def batch_norm(self, x, layer: str, constants: BatchNorm):
        mean, variance = x.mean(dim=(0, 1, 2)), x.var(dim=(0, 1, 2), correction=0)
        for key, value in (("moving_mean", mean), ("moving_variance", variance)):
            old = self.statistics[f"{layer}/{key}"]
            self.statistics[f"{layer}/{key}"] = old * constants.momentum + value.detach() * (1 - constants.momentum)
        normalised = (x - mean) / torch.sqrt(variance + constants.epsilon)
        return normalised * self.parameters[f"{layer}/gamma"] + self.parameters[f"{layer}/beta"]

    def squares(self, *names: str):
        return sum((self.parameters[name] ** 2).sum() for name in names)


# Each net returns logits and the regularisers' loss.


def cnn(net: Pass, x):
    x = max_pool(F.relu(net.conv(x, "conv1", padding="same")), 2)
    x = max_pool(F.relu(net.conv(x, "conv2", padding="same")), 2)
    x = F.relu(net.dense(x.reshape(len(x), -1), "dense1"))
    return net.dense(x, "dense2"), 0


def cnn_batchnorm(net: Pass, x):
    constants = BatchNorm(momentum=0.99, epsilon=1e-3)
    x = max_pool(F.relu(net.batch_norm(net.conv(x, "conv1", padding="same"), "bn1", constants)), 2)
    x = max_pool(F.relu(net.batch_norm(net.conv(x, "conv2", padding="same"), "bn2", constants)), 2)
    x = F.relu(net.dense(x.reshape(len(x), -1), "dense1"))
    return net.dense(x, "dense2"), 0


def residual(net: Pass, x):
    constants = BatchNorm(momentum=0.9, epsilon=1e-5)

    def normalised(x, name: str, strides=1):
        return net.batch_norm(net.conv(x, f"{name}_conv", padding="same", strides=strides), f"{name}_bn", constants)

    def block(x, name: str, strides: int):
        inner = normalised(F.relu(normalised(x, f"{name}_1", strides)), f"{name}_2")
        shortcut = x if strides == 1 else normalised(x, f"{name}_shortcut", strides)
        return F.relu(inner + shortcut)

    x = F.relu(normalised(x, "stem"))
    x = block(block(x, "block1", 1), "block2", 2)
    logits = net.dense(x.mean(dim=(1, 2)), "dense")
    return logits, 0.01 * net.squares("stem_conv/kernel", "dense/kernel")


@dataclass
class Model:
    net: Callable
    image: tuple
    kernels: dict
    batch_norms: dict  # channels by layer
    seed: int


CNN_KERNELS = {"conv1": (3, 3, 1, 4), "conv2": (3, 3, 4, 8), "dense1": (72, 16), "dense2": (16, CLASSES)}
MODELS = {
    "cnn": Model(cnn, (12, 12, 1), CNN_KERNELS, {}, 8),
    # A bias before BatchNorm has no gradient but noise, and Adam makes whole steps of noise: these convolutions have none.
    "cnn-batchnorm": Model(cnn_batchnorm, (12, 12, 1), CNN_KERNELS, {"bn1": 4, "bn2": 8}, 3),
    "residual": Model(
        residual,
        (8, 8, 3),
        {
            "stem_conv": (3, 3, 3, 6),
            "block1_1_conv": (3, 3, 6, 6),
            "block1_2_conv": (3, 3, 6, 6),
            "block2_1_conv": (3, 3, 6, 10),
            "block2_2_conv": (3, 3, 10, 10),
            "block2_shortcut_conv": (1, 1, 6, 10),
            "dense": (10, CLASSES),
        },
        {"stem_bn": 6, "block1_1_bn": 6, "block1_2_bn": 6, "block2_1_bn": 10, "block2_2_bn": 10, "block2_shortcut_bn": 10},
        14,
    ),
}


def initial_values(model: Model, random: np.random.Generator) -> tuple:
    parameters, statistics = {}, {}
    for layer, shape in model.kernels.items():
        parameters[f"{layer}/kernel"] = random.standard_normal(shape) * np.sqrt(2 / np.prod(shape[:-1]))
        if not model.batch_norms or layer.startswith("dense"):
            parameters[f"{layer}/bias"] = random.uniform(0.1, 0.4, shape[-1])
    for layer, channels in model.batch_norms.items():
        parameters[f"{layer}/gamma"] = random.uniform(0.5, 1.5, channels)
        parameters[f"{layer}/beta"] = random.uniform(-0.2, 0.4, channels)
        statistics[f"{layer}/moving_mean"] = random.uniform(-0.2, 0.2, channels)
        statistics[f"{layer}/moving_variance"] = random.uniform(0.5, 1.5, channels)
    to_single = lambda values: {name: value.astype(np.float32) for name, value in values.items()}
    return to_single(parameters), to_single(statistics)


def make_images(shape: tuple, random: np.random.Generator) -> tuple:
    """Noise with a bright bar whose place depends on the label."""
    labels = np.arange(BATCH) % CLASSES
    images = random.uniform(0, 0.4, (BATCH, *shape))
    for image, label in zip(images, labels):
        image[label * (shape[0] - 2) // CLASSES :][:3, 1:-2] += 0.6
    return images.astype(np.float32), labels


def train(model: Model, initial: tuple, images: np.ndarray, labels: np.ndarray, spec: dict, dtype: torch.dtype) -> tuple:
    parameters = {name: torch.tensor(value, dtype=dtype, requires_grad=True) for name, value in initial[0].items()}
    statistics = {name: torch.tensor(value, dtype=dtype) for name, value in initial[1].items()}
    optimizer = torch_optimizer(spec, list(parameters.values()))
    losses = []
    for _ in range(STEPS):
        optimizer.zero_grad()
        net = Pass(parameters, statistics)
        logits, penalty = model.net(net, torch.tensor(images, dtype=dtype))
        loss = F.cross_entropy(logits, torch.tensor(labels)) + penalty
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses, {name: value.detach().numpy().copy() for name, value in (parameters | statistics).items()}


def relative(some: dict, others: dict) -> float:
    return max(float(np.linalg.norm(some[key] - others[key]) / (np.linalg.norm(others[key]) or 1)) for key in others)


def wobble(model: Model, initial: tuple, images: np.ndarray, labels: np.ndarray, after: dict, spec: dict) -> float:
    """How far the end moves when all initial parameters move by some 1e-6 of themselves: far, where an activation is about to cross a kink."""
    worst = 0.0
    for seed in range(3):
        random = np.random.default_rng(seed)
        moved = {name: value * (1 + 1e-6 * random.standard_normal(value.shape)) for name, value in initial[0].items()}
        _, found = train(model, (moved, initial[1]), images, labels, spec, torch.float64)
        worst = max(worst, relative(found, after))
    return worst


def make_model(model: Model) -> tuple:
    random = np.random.default_rng(model.seed)
    images, labels = make_images(model.image, random)
    initial = initial_values(model, random)
    tensors = {"images": images, "labels": labels.astype(np.float32)}
    tensors |= {f"initial/{key}": value for key, value in (initial[0] | initial[1]).items()}
    info = {}
    for key, spec in SPECS.items():
        losses, after = train(model, initial, images, labels, spec, torch.float64)
        losses32, after32 = train(model, initial, images, labels, spec, torch.float32)
        tensors |= {f"{key}/{parameter}": value for parameter, value in after.items()}
        info[key] = {
            "spec": spec,
            "losses": losses,
            "lossDifferenceOfFloat32": max(abs(a - b) for a, b in zip(losses, losses32)),
            "relativeDifferenceOfFloat32": relative(after32, after),
            "relativeDifferenceOfWobbledStart": wobble(model, initial, images, labels, after, spec),
        }
    return tensors, info


def make_compliance_models() -> None:
    tensors, models = {}, {}
    for name, model in MODELS.items():
        made, models[name] = make_model(model)
        tensors |= {f"{name}/{key}": value.astype(np.float32) for key, value in made.items()}
        for key, found in models[name].items():
            losses, rounding, moved = found["losses"], found["relativeDifferenceOfFloat32"], found["relativeDifferenceOfWobbledStart"]
            print(f"  {name} {key}: losses {losses[0]:.4f} .. {losses[-1]:.4f}, parameters within {rounding:.1e}, wobble {moved:.1e}")
            assert losses[-1] < losses[0]
            assert max(rounding, moved) < 1e-5, f"{name}: an activation crosses a kink: take another seed than {model.seed}"
    write_tensors("compliance-models.safetensors", tensors, 200_000)
    write_json("compliance-models.json", {"source": f"torch {torch.__version__}, scripts/golden/make-golden.py", "models": models})

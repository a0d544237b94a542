"""optimizers.json: each optimizer's way through given gradients."""

import numpy as np
import torch

from golden_files import shortest, write_json

OPTIMIZERS = [
    ("adam with defaults", dict(kind="adam", learningRate=0.001, beta1=0.9, beta2=0.999, epsilon=1e-8, weightDecay=0.0)),
    ("adam with other betas and weight decay", dict(kind="adam", learningRate=0.01, beta1=0.8, beta2=0.99, epsilon=1e-6, weightDecay=0.05)),
    ("adam without a running mean", dict(kind="adam", learningRate=0.01, beta1=0.0, beta2=0.9, epsilon=1e-8, weightDecay=0.0)),
    ("sgd", dict(kind="sgd", learningRate=0.05, momentum=0.0, nesterov=False, weightDecay=0.0)),
    ("sgd with weight decay", dict(kind="sgd", learningRate=0.05, momentum=0.0, nesterov=False, weightDecay=0.01)),
    ("sgd with momentum", dict(kind="sgd", learningRate=0.05, momentum=0.9, nesterov=False, weightDecay=0.0)),
    ("sgd with nesterov momentum and weight decay", dict(kind="sgd", learningRate=0.02, momentum=0.8, nesterov=True, weightDecay=0.01)),
]


def torch_optimizer(spec: dict, parameters: list) -> torch.optim.Optimizer:
    if spec["kind"] == "adam":
        betas = (spec["beta1"], spec["beta2"])
        return torch.optim.Adam(
            parameters, lr=spec["learningRate"], betas=betas, eps=spec["epsilon"], weight_decay=spec["weightDecay"], foreach=False
        )
    return torch.optim.SGD(
        parameters,
        lr=spec["learningRate"],
        momentum=spec["momentum"],
        nesterov=spec["nesterov"],
        weight_decay=spec["weightDecay"],
        foreach=False,
    )


def trajectory(spec: dict, initial: np.ndarray, gradients: np.ndarray, dtype: torch.dtype) -> np.ndarray:
    w = torch.tensor(initial, dtype=dtype, requires_grad=True)
    optimizer = torch_optimizer(spec, [w])
    after = []
    for gradient in gradients:
        w.grad = torch.tensor(gradient, dtype=dtype)
        optimizer.step()
        after.append(w.detach().numpy().copy())
    return np.stack(after)


def make_optimizers() -> None:
    random = np.random.default_rng(1)
    parameters, steps = 37, 10
    # Away from 0, so that a relative tolerance means something; gradients of very different sizes, some of them exactly 0.
    initial = (random.uniform(0.5, 2.0, parameters) * random.choice([-1.0, 1.0], parameters)).astype(np.float32)
    scale = 10.0 ** random.uniform(-5, -0.7, parameters)
    gradients = (random.standard_normal((steps, parameters)) * scale).astype(np.float32)
    gradients[random.random(gradients.shape) < 0.05] = 0
    cases = []
    for name, spec in OPTIMIZERS:
        single = trajectory(spec, initial, gradients, torch.float32)
        double = trajectory(spec, initial, gradients, torch.float64)
        difference = float(np.max(np.abs(single - double) / np.abs(double)))
        assert difference < 1e-6, (name, difference)
        print(f"  {name}: float32 is within {difference:.1e} of float64")
        cases.append({"name": name, "spec": spec, "after": [shortest(w) for w in single]})
    content = {
        "source": f"torch {torch.__version__}, scripts/golden/make-golden.py",
        "initial": shortest(initial),
        "gradients": [shortest(g) for g in gradients],
        "cases": cases,
    }
    write_json("optimizers.json", content)

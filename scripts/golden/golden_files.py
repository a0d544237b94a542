"""Where golden files lie and how they are written."""

import json
import pathlib
import re

import numpy as np
from safetensors.numpy import save_file

GOLDEN = pathlib.Path(__file__).resolve().parents[2] / "packages" / "training" / "test" / "golden"


def shortest(values: np.ndarray) -> list:
    """Decimal numbers that round to the very values, as short as their precision allows."""
    return [float(str(value)) for value in values.reshape(-1)]


def write_json(name: str, content: dict) -> None:
    text = json.dumps(content, indent=1)
    # An innermost array on one line.
    (GOLDEN / name).write_text(re.sub(r"\[[^\[\]{}]*\]", lambda array: " ".join(array.group().split()), text) + "\n")


def write_tensors(name: str, tensors: dict, most_bytes: int) -> pathlib.Path:
    path = GOLDEN / name
    save_file({key: np.ascontiguousarray(value) for key, value in tensors.items()}, path)
    path.chmod(0o644)
    assert path.stat().st_size < most_bytes, f"{name} has {path.stat().st_size} bytes"
    return path

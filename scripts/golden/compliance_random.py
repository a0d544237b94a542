"""compliance-random.json: the stream of keyed random numbers, for packages/training/test/fixtures/compliance.

Written from the papers, not from a backend: Philox 4x32-10 (Salmon et al., SC 2011) and the Box-Muller transform, as TensorFlow's
StatelessRandomUniformV2 and StatelessRandomNormalV2 use them. The key is (seed, step); the counter's low word is the number of the group of four
elements in the whole batch, its high word the number of the draw.
"""

import numpy as np

from golden_files import shortest, write_json

MASK = 0xFFFFFFFF
# seed, step, first slot, draw, samples, elements a sample
CASES = [
    (42, 1200, 0, 0, 4, 7),
    (42, 1200, 3, 0, 2, 7),
    (42, 1200, 5, 1, 3, 1),
    (42, 1201, 13, 2, 2, 8),
    (2**32 - 1, 2**32 - 1, 65_535, 0, 1, 13),
    (7, 0, 65_000, 0, 1, 5),
    (0, 0, 0, 0, 3, 5),
]


def philox(counter: list, key: list) -> list:
    a, b, c, d = counter
    k0, k1 = key
    for _ in range(10):
        first, second = 0xD2511F53 * a, 0xCD9E8D57 * c
        a, b, c, d = (second >> 32) ^ b ^ k0, second & MASK, (first >> 32) ^ d ^ k1, first & MASK
        k0, k1 = (k0 + 0x9E3779B9) & MASK, (k1 + 0xBB67AE85) & MASK
    return [a, b, c, d]


def words(seed: int, step: int, first: int, draw: int, count: int) -> np.ndarray:
    """Whole groups of four from the one that holds element `first` on."""
    groups = range(first // 4, -(-(first + count) // 4))
    found = [philox([group & MASK, group >> 32, draw & MASK, draw >> 32], [step, seed]) for group in groups]
    return np.array(found, dtype=np.uint32).reshape(-1)


def uniform(bits: np.ndarray) -> np.ndarray:
    """The low 23 bits are the fraction of a number in [1, 2)."""
    return ((bits & 0x7FFFFF) | 0x3F800000).astype(np.uint32).view(np.float32) - np.float32(1)


def normal(bits: np.ndarray) -> np.ndarray:
    pairs = uniform(bits).astype(np.float64).reshape(-1, 2)
    radius = np.sqrt(-2 * np.log(np.maximum(pairs[:, 0], np.float32(1e-7))))
    angle = 2 * np.pi * pairs[:, 1]
    return np.stack([np.sin(angle) * radius, np.cos(angle) * radius], axis=1).reshape(-1).astype(np.float32)


def make_compliance_random() -> None:
    # The known answer of Random123's own test vectors for a counter and a key of zeros.
    assert philox([0, 0, 0, 0], [0, 0]) == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]
    cases = []
    for seed, step, first_slot, draw, samples, elements in CASES:
        first, count = first_slot * elements, samples * elements
        drawn = words(seed, step, first, draw, count)
        cut = slice(first % 4, first % 4 + count)
        cases.append(
            {
                "key": {"seed": seed, "step": step, "firstSlot": first_slot},
                "draw": draw,
                "shape": [samples, elements],
                "uniform": shortest(uniform(drawn)[cut]),
                "normal": shortest(normal(drawn)[cut]),
            }
        )
    write_json("compliance-random.json", {"source": "scripts/golden/compliance_random.py", "cases": cases})
    print(f"  {len(cases)} draws")

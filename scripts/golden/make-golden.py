"""Golden values from PyTorch for packages/training/test/golden. How to run: scripts/golden/README.md.

Everything is computed in float32, one thread, without oneDNN, and again in float64. What is stored is float32; the float64 run checks it
and says how far rounding alone moves the result, which is what a test's tolerance has to allow.
"""

import numpy as np
import torch

from cnn import TRAINED, make_cnn
from compliance_layers import make_compliance_layers
from compliance_models import make_compliance_models
from compliance_random import make_compliance_random
from golden_files import GOLDEN
from optimizers import make_optimizers

if __name__ == "__main__":
    print(f"torch {torch.__version__}, numpy {np.__version__}")
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    torch.backends.mkldnn.enabled = False
    GOLDEN.mkdir(parents=True, exist_ok=True)
    make_optimizers()
    make_cnn("cnn", 47, False, TRAINED)
    make_cnn("cnn-batchnorm", 78, True, {})
    make_compliance_layers()
    make_compliance_models()
    make_compliance_random()

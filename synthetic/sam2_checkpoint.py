"""A SAM2 with random weights, the same on every machine, for tests and benchmarks.

The masks have no meaning, but everything else is real: architecture, files, time and memory.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

# With this seed, SAM2 tiny chooses each of the three masks at some points, and no object at others.
SEED = 36
# Half the width of the distribution of biases, and of the difference of norm scales from 1.
SMALL = 0.1
# With these gains, a mask depends on its point and has both signs, its logits are a few units large
# like those of trained weights, and rounding errors are not amplified.
GAINS = (
    ("transformer", 3.0),
    ("hypernetworks", 1.2),
    ("prediction_head", 2.0),
    ("score_head", 2.0),
    ("conv_s", 0.5),
    ("token.weight", 0.1),
    ("tokens.weight", 0.1),
)
VECTORS = (
    "token.weight",
    "tokens.weight",
    "_embed.weight",
    "no_memory_embedding",
    "positional_embedding",
)


def random_model(config: Any, seed: int = SEED) -> Any:
    """A transformers Sam2Model (float32, eval mode) of a Sam2Config, filled from a seed."""
    from transformers import Sam2Model

    model: Any = Sam2Model(config)
    model.load_state_dict(random_state(model.state_dict(), seed))
    return model.eval()


def random_state(shapes: Mapping[str, torch.Tensor], seed: int = SEED) -> dict[str, torch.Tensor]:
    """Float32 tensors of the shapes of a state dict, each drawn from the seed and its own name.

    Only uniform numbers from numpy's PCG64 are used, because their bits depend neither on the math
    library of the machine nor on the version of torch.
    """
    state = {}
    for name, tensor in shapes.items():
        # Checkpoints have one matrix of frequencies, of which transformers has two copies.
        source = name.replace("shared_image_embedding.", "prompt_encoder.shared_embedding.")
        random = np.random.default_rng([seed, zlib.crc32(source.encode())])
        uniform = 2 * random.random(tuple(tensor.shape), dtype=np.float32) - 1
        state[name] = torch.from_numpy(_centre(name) + _spread(name, tensor.shape) * uniform)
    return state


def _centre(name: str) -> np.float32:
    return np.float32("layer_norm" in name and name.endswith("weight"))


def _spread(name: str, shape: torch.Size) -> np.float32:
    """Half the width of a uniform distribution with standard deviation gain / sqrt(inputs)."""
    if "layer_norm" in name or name.endswith("bias") or "pos_embed" in name:
        return np.float32(SMALL)
    gain = next((gain for part, gain in GAINS if part in name), 1.0)
    inputs = math.prod(shape[1:])
    if name.endswith(VECTORS):
        inputs = 1  # These are added and not multiplied.
    elif "upscale_conv" in name:
        inputs = shape[0]  # The convolution is transposed.
    return np.float32(gain * math.sqrt(3 / inputs))

"""Random numbers that follow from names, so that they do not depend on order, workers or restarts."""

from __future__ import annotations

import hashlib

import numpy as np


def _number(key: int | str) -> int:
    """A key as an integer: itself, or 64 bits of the BLAKE2b digest of its text."""
    if isinstance(key, str):
        return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "little")
    return int(key)


def sequence(seed: int, *keys: int | str) -> np.random.SeedSequence:
    """The seed sequence of one named stream, e.g. ``sequence(42, "bag", epoch, slide_id)``."""
    return np.random.SeedSequence([_number(seed), *(_number(key) for key in keys)])


def stream(seed: int, *keys: int | str) -> np.random.Generator:
    """A counter-based (Philox) generator for one named stream."""
    return np.random.Generator(np.random.Philox(sequence(seed, *keys)))


def torch_seed(seed: int, *keys: int | str) -> int:
    """A seed for ``torch.manual_seed`` in [0, 2**63)."""
    return int(sequence(seed, *keys).generate_state(1, np.uint64)[0] >> 1)

"""Chance that belongs to a picture, so that it is the same whichever batch the picture is in, in whichever order."""

import hashlib

import numpy as np
from torch import Tensor


def generator_of(picture: Tensor, seed: int, purpose: str) -> np.random.Generator:
    """A generator of the seed, a picture's own pixels (3, height, width), normalised, and what it is for."""
    digest = hashlib.sha256(picture.detach().float().cpu().contiguous().numpy().tobytes())
    digest.update(purpose.encode())
    return np.random.default_rng((seed, int.from_bytes(digest.digest()[:8], "little")))


def generator_of_name(name: str, seed: int, purpose: str) -> np.random.Generator:
    """A generator of the seed, a picture's name, and what it is for."""
    digest = hashlib.sha256(f"{name}\0{purpose}".encode("utf-8", "surrogateescape"))
    return np.random.default_rng((seed, int.from_bytes(digest.digest()[:8], "little")))

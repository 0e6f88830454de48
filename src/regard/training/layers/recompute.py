"""Gradient checkpointing: of each block only what goes in is kept, and the block is computed again on the way back.

Chen et al. 2016, arXiv 1604.06174: memory for one block and the borders of all, for one forward pass more. Gradients
are the same, dropout's draws too: torch puts its generator back to where it was when the block ran first, and those of
virtual ranks (`parallel.ranks`) are put back with it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from torch.utils.checkpoint import checkpoint

from regard.errors import UsageError
from regard.networks.guard import replaced_forwards
from regard.training.parallel.ranks import replayed
from regard.training.settings import Settings
from regard.training.trainable import Trainable


@contextmanager
def recomputed(network: Trainable, settings: Settings) -> Iterator[None]:
    """Inside, with `--recompute blocks`, the blocks of the network are computed twice; a captioner's encoder's.

    Raises `UsageError` for a network whose blocks are not known.
    """
    if settings.recompute == "none":
        yield
        return
    paths = network.anatomy.blocks
    if not paths:
        raise UsageError(
            f"--recompute blocks computes the blocks of {network.name} twice, and it has none that regard knows; leave "
            "it out, and give a smaller --batch-size with --accumulate"
        )
    again = partial(checkpoint, use_reentrant=False, context_fn=replayed)
    forwards = {path: partial(again, network.module.get_submodule(path).forward) for path in paths}
    with replaced_forwards(network.module, forwards):
        yield

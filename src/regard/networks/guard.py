"""The one guard for working on somebody's network: whatever happens inside, it is handed back exactly as it was."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torch.utils.hooks import RemovableHandle


@contextmanager
def borrowed(module: nn.Module) -> Iterator[list[RemovableHandle]]:
    """`module` in evaluation mode; hooks appended to the list it yields are removed at the end.

    The training flag of every submodule is put back one by one, because a user may have frozen only some of them.
    """
    modes = [(part, part.training) for part in module.modules()]
    handles: list[RemovableHandle] = []
    try:
        module.eval()
        yield handles
    finally:
        for handle in handles:
            handle.remove()
        for part, training in modes:
            part.training = training

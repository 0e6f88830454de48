"""TRACKERS: where the numbers and pictures of a training go beside its own files, by one hook: `hook(step, values)`.

`step` is the line of `metrics.jsonl`, counted from 0; the end of the run comes after the last. `values` by name are
numbers, and pictures as (height, width, 3) uint8. A row's target is called before any work, so that what is missing is
known then, and returns `start(folder, step)`: a hook for the run in `folder`, which goes on at `step`; what an
earlier process logged from there on will come again. A hook may have a `close`.

A hook never changes a training: it is given copies, and is not asked. One that raises is warned of at once and on the
page of the run, is not called again, and the training goes on.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from regard.errors import UsageError
from regard.registry import Described, Table

log = logging.getLogger("regard")

Hook = Callable[[int, Mapping[str, Any]], None]
Start = Callable[[Path, int], Hook]


@dataclass(frozen=True, repr=False)
class Tracker(Described):
    """A row of TRACKERS: `target` is "module:function"."""

    name: str
    target: str
    description: str


TRACKERS = Table(
    "tracker",
    (
        Tracker(
            "tensorboard",
            "regard.training.tracking.board:tensorboard",
            "files in the folder of the run, which TensorBoard shows (extra: tensorboard)",
        ),
    ),
    "regard.trackers",
)


def register_tracker(row: Tracker) -> None:
    """Add a row: `regard train --track NAME` then takes it.

    >>> import regard
    >>> from regard.training.tracking import Tracker
    >>> regard.register_tracker(Tracker("mlflow", "my_package.trackers:mlflow", "the server of our group"))
    >>> regard.TRACKERS.names
    ('tensorboard', 'mlflow')
    """
    TRACKERS.register(row)


class Tracking:
    """The hooks of a run: rows of TRACKERS by name, or functions of the user's own."""

    def __init__(self, hooks: "Sequence[str | Hook]" = ()) -> None:
        """Raises `UsageError` for an unknown name, and for a tracker whose package is missing."""
        self._starts: dict[str, Start] = {}
        self._hooks: dict[str, Hook] = {}
        self.is_open = False
        self.messages: list[str] = []
        for number, hook in enumerate(hooks):
            if isinstance(hook, str):
                self._starts[hook] = TRACKERS.load(hook)()
            elif callable(hook):
                name = getattr(hook, "__name__", type(hook).__name__)
                self._starts[f"{name} {number}" if name in self._starts else name] = partial(
                    lambda hook, folder, step: hook, hook
                )  # it needs no beginning
            else:
                raise UsageError(f"a tracker came as {type(hook).__name__}; give a name or a function (step, values)")

    def __len__(self) -> int:
        return len(self._starts)

    def open(self, folder: Path, step: int) -> None:
        """Begin, or go on at `step`."""
        self.is_open = True
        for name, start in self._starts.items():
            with self._guarded(name):
                self._hooks[name] = start(folder, step)

    def log(self, step: int, values: Mapping[str, Any]) -> None:
        """Give numbers and pictures to every hook."""
        for name, hook in list(self._hooks.items()) if values else ():
            with self._guarded(name, f" at step {step}"):
                hook(step, dict(values))

    def close(self) -> None:
        for name, hook in list(self._hooks.items()):
            with self._guarded(name):
                getattr(hook, "close", lambda: None)()
        self._hooks.clear()

    @contextmanager
    def _guarded(self, name: str, where: str = "") -> Iterator[None]:
        """Whatever a hook raises (but Ctrl-C) ends that hook alone."""
        try:
            yield
        except Exception as error:
            message = (
                f"the tracker {name!r} failed{where} ({type(error).__name__}: {error}); it is given no more, and the "
                "training goes on: metrics.jsonl has every line"
            )
            log.warning(message)
            self.messages.append(message)
            self._hooks.pop(name, None)


def numbers(row: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a line of metrics, under the name of its phase."""
    return {f"{row.get('phase', 'run')}/{name}": value for name, value in row.items() if isinstance(value, float)}

"""Checkpoints: one file with everything that a run needs to go on as if nothing had happened.

The file is safetensors, with the rest as JSON in its header, and a digest of all of it. It is written aside, flushed
and renamed, so that a kill or a full disk while writing never costs the one before. The order of pictures, their
random changes and dropout are functions of (seed, epoch, index or step), so that no state of a random generator has to
be kept.
"""

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from regard.errors import DataError, OutputError
from regard.files import write_file
from regard.training.processes import World

STATE = "checkpoint/state.safetensors"
SHARE = 0.01
"""The most of a run's time that its checkpoints may take."""
SPEED = 200e6
"""Bytes per second that a disk is taken to write before it has been measured."""

FACTS = {"done": dict, "phase": str | None, "position": dict, "rows": list}
DIGEST = "sha256"
NO_DIGEST = b"0" * 64
"""What stands for the digest in the bytes that it is taken of."""

Tensors = Mapping[str, Tensor]


@dataclass
class Checkpoints:
    """What a run has reached: results of finished phases, and the position and tensors inside the present one.

    `results` (JSON) and `tensors` are of finished phases, by their names. `every` writes after so many steps; without
    it, as often as `SHARE` of the time allows: `count` files have taken so many `seconds`. Only the first process
    writes; all read what it has. `together`: all have to give their part of what it writes, when it says so.
    """

    folder: Path
    world: World
    every: int | None = None
    together: bool = False
    results: dict[str, Any] = field(default_factory=dict)
    tensors: dict[str, Tensor] = field(default_factory=dict)
    seconds: float = 0.0
    count: int = 0

    def __post_init__(self) -> None:
        self._phase: str | None = None
        self._position: dict[str, Any] = {}
        self._tensors: dict[str, Tensor] = {}
        self._started = time.perf_counter()
        self._last_cost: float | None = None
        self._calls = 0

    def load(self) -> list[dict[str, Any]] | None:
        """Read the checkpoint; returns its rows of metrics, or None where there is no checkpoint."""
        path = self.folder / STATE
        data: bytes | None = self.world.shared(path.read_bytes() if self.world.main and path.is_file() else None)
        if data is None:
            return None
        facts, tensors = unpack(data, path)
        self.results = facts["done"]
        self.tensors = tensors_under("kept/", tensors)
        self._phase = facts["phase"]
        self._position = facts["position"]
        self._tensors = tensors_under("phase/", tensors)
        rows: list[dict[str, Any]] = facts["rows"]
        return rows

    def resume(self, phase: str) -> tuple[dict[str, Any], dict[str, Tensor]] | None:
        """The position and tensors with which a phase goes on, or None where it has to start.

        They are handed out once: the tensors are as large as the network, and a second start is a start from nothing.
        """
        if self._phase != phase:
            return None
        state = (self._position, self._tensors)
        self._phase = None
        self._position = {}
        self._tensors = {}
        return state

    def finish(self, phase: str, result: Any, tensors: Tensors | None = None) -> None:
        """A phase is done: its result (JSON) and tensors are part of all checkpoints from now on."""
        self.results[phase] = result
        self.tensors |= tensors or {}

    def save_if_due(
        self, rows: list[dict[str, Any]], phase: str, state: Callable[[], tuple[dict[str, Any], Tensors]], size: int
    ) -> None:
        """Write a checkpoint of about `size` bytes if one is due."""
        self._calls += 1
        due = self.world.main and self._due(size)
        if self.world.most(due) if self.together else due:
            self.save(rows, phase, *state())

    def save(
        self,
        rows: list[dict[str, Any]],
        phase: str | None = None,
        position: Mapping[str, Any] | None = None,
        tensors: Tensors | None = None,
    ) -> None:
        """Write a checkpoint now. Raises `OutputError` when it cannot be written; the one before it stays."""
        if not self.world.main:
            return
        start = time.perf_counter()
        facts = {"done": self.results, "phase": phase, "position": dict(position or {}), "rows": rows}
        named = {f"kept/{name}": value for name, value in self.tensors.items()}
        named |= {f"phase/{name}": value for name, value in (tensors or {}).items()}
        try:
            write_file(self.folder / STATE, pack(facts, named))
        except OutputError as error:
            raise OutputError(f"{error}; the checkpoint before it is kept: go on with --resume") from error
        self._last_cost = time.perf_counter() - start
        self.seconds += self._last_cost
        self.count += 1

    def _due(self, size: int) -> bool:
        if self.every is not None:
            return self._calls % self.every == 0
        cost = size / SPEED if self._last_cost is None else self._last_cost
        return self.seconds + cost <= SHARE * (time.perf_counter() - self._started)


def pack(facts: Mapping[str, Any], tensors: Tensors) -> bytes:
    """One file's bytes; equal facts and tensors give equal bytes.

    The digest is of every byte but its own, so that header, names and values are covered; inside the file, as two
    files are never renamed at once.
    """
    plain = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    text = json.dumps({DIGEST: NO_DIGEST.decode(), **facts}, ensure_ascii=True, allow_nan=False)
    data = bytes(safetensors.torch.save(plain, metadata={"state": text}))
    place = _place_of(NO_DIGEST, data)
    return b"".join([data[:place], hashlib.sha256(data).hexdigest().encode(), data[place + len(NO_DIGEST) :]])


def unpack(data: bytes, path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """What `pack` took. Raises `DataError` for a file that is damaged."""
    try:
        length = int.from_bytes(data[:8], "little")
        facts: dict[str, Any] = json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["state"])
        digest = facts.pop(DIGEST, None)  # checkpoints that 0.1.0 wrote before it was kept have none
        if digest is not None and digest != _digest_of(data, digest.encode()):
            raise ValueError("another digest")
        if facts.keys() != FACTS.keys() or not all(isinstance(facts[name], kind) for name, kind in FACTS.items()):
            raise TypeError("other facts")
        return facts, safetensors.torch.load(data)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, SafetensorError) as error:
        raise DataError(
            f"{path} is damaged ({type(error).__name__}); remove it and --resume starts this run from the beginning"
        ) from error


def _digest_of(data: bytes, stored: bytes) -> str:
    """The digest of all bytes but those where it is `stored`."""
    place = _place_of(stored, data)
    digest = hashlib.sha256(memoryview(data)[:place])
    digest.update(NO_DIGEST)
    digest.update(memoryview(data)[place + len(stored) :])
    return digest.hexdigest()


def _place_of(digest: bytes, data: bytes) -> int:
    """Where it stands in the header: in JSON that is a text in JSON. Raises `ValueError` where it does not."""
    before = rf"\"{DIGEST}\": \"".encode()
    return data.index(before + digest, 8) + len(before)


def tensors_under(prefix: str, tensors: Tensors) -> dict[str, Tensor]:
    """Those whose name begins so, without it."""
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}

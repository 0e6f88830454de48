"""TensorBoard behind the hook of trackers: scalars and pictures in the run's folder `tensorboard/`."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from regard.errors import UsageError
from regard.files import write_file
from regard.training.tracking import Hook, Start


def tensorboard() -> Start:
    """What begins a run's board. Raises `UsageError` where TensorBoard is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise UsageError(
            "TensorBoard is not installed; install it (pip install 'regard[tensorboard]') or leave --tensorboard out"
        ) from error

    class Board:
        def __init__(self, folder: Path) -> None:
            self.writer = SummaryWriter(str(folder))
            self.close = self.writer.close

        def __call__(self, step: int, values: Mapping[str, Any]) -> None:
            for name, value in values.items():
                if isinstance(value, np.ndarray):
                    self.writer.add_image(name, value, step, dataformats="HWC")
                else:
                    self.writer.add_scalar(name, value, step)
            self.writer.flush()

    def start(folder: Path, step: int) -> Hook:
        place = folder / "tensorboard"
        for file in sorted(place.glob("events.out.tfevents.*")):
            _cut(file, step)
        return Board(place)

    return start


def _cut(file: Path, step: int) -> None:
    """Take what was logged from `step` on out of a file: it will come again, and readers other than TensorBoard's own
    would show it twice."""
    from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.summary.writer.record_writer import RecordWriter

    content = io.BytesIO()
    records = RecordWriter(content)
    for record in RawEventFileLoader(str(file)).Load():
        event = Event.FromString(record)
        if event.step < step or event.HasField("file_version"):
            records.write(record)
    write_file(file, content.getvalue())

"""A graph opened once in onnxruntime, for one picture after the other, or for a batch of its own size."""

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray


class Runner:
    """A graph, and its outputs by name for pictures (batch, channels, height, width), or for the raw pixels of one.

    `batch` is how many pictures it takes, None where that is any number.
    """

    def __init__(self, model: onnx.ModelProto, threads: int = 1) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        content = model.SerializeToString()
        self.session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        (self.entry,) = self.session.get_inputs()
        first = self.entry.shape[0]
        self.batch = first if len(self.entry.shape) == 4 and isinstance(first, int) else None
        self.names = [output.name for output in self.session.get_outputs()]

    def __call__(self, pictures: NDArray[np.float32 | np.uint8]) -> dict[str, NDArray[np.float32]]:
        """One picture for a graph of a fixed number is the first of that many of the same."""
        if self.batch is not None:
            pictures = np.repeat(pictures, self.batch // len(pictures), axis=0)
        return dict(zip(self.names, self.session.run(self.names, {self.entry.name: pictures}), strict=True))

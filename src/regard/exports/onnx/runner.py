"""A graph opened once in onnxruntime, for one picture after the other."""

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray


class Runner:
    """A graph, and its outputs by name for one picture: (1, channels, height, width), or raw pixels."""

    def __init__(self, model: onnx.ModelProto, threads: int = 1) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        content = model.SerializeToString()
        self.session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        (self.entry,) = self.session.get_inputs()
        self.names = [output.name for output in self.session.get_outputs()]

    def __call__(self, picture: NDArray[np.float32 | np.uint8]) -> dict[str, NDArray[np.float32]]:
        """Of a graph of a fixed number of pictures it is the first of that many of the same."""
        first = self.entry.shape[0]
        if len(self.entry.shape) == 4 and isinstance(first, int):
            picture = np.repeat(picture, first, axis=0)
        return dict(zip(self.names, self.session.run(self.names, {self.entry.name: picture}), strict=True))

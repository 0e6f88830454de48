"""A live page with a tiny network inside, of which one can say what it answers: red or blue, and where."""

from contextlib import contextmanager
from functools import cache, partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import numpy as np
from onnx import TensorProto, helper, numpy_helper
from onnxruntime_web import runtime_folder

from regard.exports.web.runtime import LICENCE, runtime
from regard.exports.web.weights import deflated
from regard.rendering.pages.live import LivePage, live_page

SIDE = 32
CLASSES = ("red_panda", "blue_whale", "green_frog")
PREPARATION = {
    "height": SIDE,
    "width": SIDE,
    "mode": "squash",
    "crop": 0.9,
    "interpolation": "bilinear",
    "resized": None,
    "whole": 16,
    "downFirst": True,
    "colours": "RGB",
    "scale": [1 / 255] * 3,
    "shift": [0.0] * 3,
}
ATTENTION = {
    "method": "attention",
    "label": "attention",
    "description": "",
    "signed": False,
    "output": "attention",
    "settings": {"layer": "last", "head": "mean", "query": "CLS"},
    "verdict": None,
}
CLASS_MAP = {
    "method": "direct_logit",
    "label": "direct logit",
    "description": "what each patch adds",
    "signed": True,
    "settings": {},
    "verdict": {"status": "supported", "text": "measured on 74 pictures"},
    "output": "map",
}


def graph(maps=True):
    """logits: ten times the means of red, blue and green; map: those of each of 4 × 4 patches; attention, of two layers
    and two heads: the softmax of how blue a patch is."""
    order = numpy_helper.from_array(np.array([0, 2, 1]), "order")
    shape = numpy_helper.from_array(np.array([1, 1, 1, 16]), "shape")
    tiles = numpy_helper.from_array(np.array([1, 2, 2, 1]), "tiles")
    one = numpy_helper.from_array(np.array([1]), "one")
    ten = numpy_helper.from_array(np.array(10, np.float32), "ten")
    axes = numpy_helper.from_array(np.array([2, 3]), "axes")
    nodes = [
        helper.make_node("Gather", ["pixels", "order"], ["planes"], axis=1),
        helper.make_node("ReduceMean", ["planes", "axes"], ["means"], keepdims=0),
        helper.make_node("Mul", ["means", "ten"], ["logits"]),
        helper.make_node("AveragePool", ["planes"], ["map"], kernel_shape=[8, 8], strides=[8, 8]),
        helper.make_node("Gather", ["map", "one"], ["blue"], axis=1),
        helper.make_node("Reshape", ["blue", "shape"], ["row"]),
        helper.make_node("Softmax", ["row"], ["soft"], axis=-1),
        helper.make_node("Tile", ["soft", "tiles"], ["attention"]),
    ]
    shapes = {"logits": [1, 3], "attention": [1, 2, 2, 16], "map": [1, 3, 4, 4]}
    names = list(shapes) if maps else ["logits"]
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shapes[name]) for name in names]
    inputs = [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, [1, 3, SIDE, SIDE])]
    body = helper.make_graph(nodes, "colours", inputs, outputs, [order, shape, tiles, one, ten, axes])
    return helper.make_model(body, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


@cache
def packed_runtime():
    """The runtime's script, and what it runs, deflated: once, as it takes a second."""
    parts = runtime(runtime_folder())
    return {"code": parts.code, "licence": LICENCE, "runtime": deflated(parts.wasm)}


def content(maps=True, **more):
    """What the page shows, and the network."""
    methods = [ATTENTION, CLASS_MAP] if maps else []
    fields = {
        "name": "colours",
        "classes": CLASSES,
        "preparation": PREPARATION,
        "input": "pixels",
        "grid": {"rows": 4, "columns": 4, "prefix": 1},
        "about": {"name": "colours", "layers": 2, "reads": "cls"},
        "methods": methods,
        "layers": [0, 1],
        "first": "direct_logit" if maps else None,
        **packed_runtime(),
        "network": deflated(graph(maps).SerializeToString()),
        "absent": {"maps": "this network has no map", "curve": "it was not measured"},
        "facts": {"Audit": "none"},
    }
    return LivePage(**{**fields, **more})


def written(path, **more):
    """A page in one file; its path."""
    path.write_text(live_page(content(**more)), encoding="utf-8", newline="\n")
    return path


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *values):
        pass


@contextmanager
def serving(folder):
    """A plain server of a folder's files, as a stranger would start one; yields its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

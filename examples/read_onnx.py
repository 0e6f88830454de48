"""An exported graph read by onnxruntime alone: which class, why, and whether the map is to be believed.

pip install onnxruntime numpy pillow
regard export RUN --to onnx --prepare --out network.onnx          # where regard is; from here on it is not needed
python examples/read_onnx.py network.onnx picture.jpg map.png
"""

import json
import sys

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

graph, picture, out = sys.argv[1:]
session = onnxruntime.InferenceSession(graph)
about = {name: text for name, text in session.get_modelmeta().custom_metadata_map.items() if name.startswith("regard.")}
image = ImageOps.exif_transpose(Image.open(picture)).convert("RGB")
outputs = [each.name for each in session.get_outputs()]
found = dict(zip(outputs, session.run(outputs, {"picture": np.asarray(image)})))

classes = json.loads(about["regard.classes"])
best = int(found["logits"][0].argmax())
print(f"class: {classes[best]}")

verdicts = [each for each in json.loads(about["regard.verdicts"]) if each["method"] == "direct_logit"]
print(f"map: {verdicts[0]['status'] if verdicts else 'no audit has tested whether it is to be believed'}")
share = found["map"][0, best if found["map"].shape[1] > 1 else 0]  # (rows, columns): each patch's share in the logit
levels = 255 * (share - share.min()) / max(float(np.ptp(share)), 1e-12)
Image.fromarray(levels.astype(np.uint8)).resize(image.size, Image.Resampling.BILINEAR).save(out)

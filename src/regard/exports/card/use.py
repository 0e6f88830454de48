"""How an export is used, and what it must not be used for as far as the numbers say."""

from collections.abc import Iterator

from regard.exports.card.markdown import bullets, code, escaped, joined, share
from regard.exports.card.scores import FEW, few_classes, worst_of
from regard.exports.card.subject import Subject
from regard.exports.card.trust import DECISIONS, overconfident, reliance, worse
from regard.measurement.reliance.verdict import CHANGES, MOSTLY, RELIES
from regard.records import Evaluation

RUN = """import regard

classifier = regard.Classifier("FOLDER")  # the folder of this file
print(classifier("picture.jpg"))
regard.Explainer("FOLDER")("picture.jpg", method={method!r}).save("maps")"""
CODE = {
    "": ("pip install regard", RUN),
    "hf": (
        "pip install transformers torch timm pillow",
        """from PIL import Image
from transformers import pipeline

classify = pipeline("image-classification", model="FOLDER")  # the folder of this file, or OWNER/NAME on the hub
print(classify(Image.open("picture.jpg").convert("RGB")))""",
    ),
    "timm": (
        "pip install timm pillow",
        """import timm
import torch
from PIL import Image

model = timm.create_model("local-dir:FOLDER", pretrained=True).eval()  # or hf-hub:OWNER/NAME
config = timm.data.resolve_model_data_config(model)
picture = timm.data.create_transform(**config)(Image.open("picture.jpg").convert("RGB"))
with torch.no_grad():
    probabilities = model(picture[None]).softmax(1)[0]
print(model.pretrained_cfg["label_names"][int(probabilities.argmax())], float(probabilities.max()))""",
    ),
    "onnx": (
        "pip install onnxruntime numpy pillow",
        """import json

import numpy as np
import onnxruntime
from PIL import Image

session = onnxruntime.InferenceSession("FILE.onnx")
about = session.get_modelmeta().custom_metadata_map
outputs = [each.name for each in session.get_outputs()]  # logits, and attention and map where they could be had
picture = np.asarray(Image.open("picture.jpg").convert("RGB"))  # (height, width, 3) uint8
# The input is "picture" where the file was exported with --prepare; else it is "pixels", prepared as said above.
found = dict(zip(outputs, session.run(outputs, {"picture": picture})))
print(json.loads(about["regard.classes"])[int(found["logits"][0].argmax())])""",
    ),
    "pt2": (
        "pip install torch",
        """import torch

model = torch.export.load("FILE.pt2").module()
logits = model(pixels)  # pixels (batch, channels, height, width): how a picture becomes them stands below""",
    ),
}
"""By kind of export, what is installed and the code that uses it."""
INSIDE = "direct_logit"
"""The method of the map that a graph gives."""
WEB = "Open the page in a browser and drop a picture on it: the network runs in the page; nothing leaves the computer."


def use_section(subject: Subject, kind: str) -> str:
    """What to install and type; how pictures go in stands in the table above it."""
    if kind == "web":
        return f"{WEB}\n\n{_inside(subject)}"
    install, lines = CODE.get(kind, CODE[""])
    if lines == RUN:
        ranked = sorted(subject.verdicts, key=lambda each: -each.value)
        believed = [each.method for each in ranked if each.status == "supported"]
        lines = lines.format(method=(believed or ["gradcam"])[0])
    note = f"\n\n{_inside(subject)}" if kind == "onnx" else ""
    if subject.several:
        lines = lines.replace("softmax(1)", "sigmoid()")
        note += "\n\nEach output is a label of its own (a sigmoid, no softmax): several may hold at once, or none."
    return f"```\n{install}\n```\n\n```python\n{lines}\n```{note}"


def _inside(subject: Subject) -> str:
    """Whether the map that an export gives by itself can be believed."""
    verdicts = [each for each in subject.verdicts if each.method == INSIDE]
    if not verdicts:
        return f"The map that it gives by itself is `{INSIDE}`, which **no audit of this network has tested**."
    each = verdicts[0]
    return (
        f"The map that it gives by itself is `{INSIDE}`: **{DECISIONS.get(each.status, each.status)}** ({each.status})."
    )


def limits_section(subject: Subject) -> str:
    """What the numbers speak against, and what they leave open."""
    always = ["Deciding about people: nothing here was measured for that."]
    if not subject.several and subject.classes is not None:
        always.insert(
            0, "Pictures of anything else: it names one of its classes all the same, and has no answer for none."
        )
    return bullets([*_quality(subject), *_trust(subject), *always])


def _quality(subject: Subject) -> Iterator[str]:
    evaluation = subject.scores
    if evaluation is None:
        yield "Anything that needs it to be right: how often it is was never measured."
        return
    score = evaluation.scores.get("top1", evaluation.scores.get("exact_match"))
    if score is not None:
        low, value, high = (f"{100 * (1 - each):.0f}" for each in (score.high, score.value, score.low))
        yield (
            f"Decisions in which about {value} [{low}, {high}] wrong answers in a hundred cannot be borne, without a "
            "person who looks at each."
        )
    if isinstance(evaluation, Evaluation):
        worst = worst_of(evaluation)
        if worst is not None and worst.top1.high < evaluation.scores["top1"].value:
            name = f"{code(worst.column)} {code(worst.value)}"
            yield f"Pictures of {name}: it is right on only {share(worst.top1)} of them."
        poor = [each for each in evaluation.per_class if each.n >= FEW and each.recall.high < 0.5]
        if poor:
            yield f"Finding {joined([code(each.name) for each in poor])}: it misses more than half of them."
    few = few_classes(subject)
    if few and len(few) == len(subject.classes or ()):
        yield f"Anything that hangs on a single class: of none were {FEW} pictures scored."
    elif few:
        names = [code(name) for name in few[:12]]
        more = f" and {len(few) - 12} more" if len(few) > 12 else ""
        yield f"Anything that hangs on {joined(names)}{more} alone: fewer than {FEW} pictures of each were scored."
    if (error := overconfident(subject)) is not None:
        yield f"Taking its confidence for a probability: it is off by {share(error)} in the mean."


def _trust(subject: Subject) -> Iterator[str]:
    if reliance(subject) in (MOSTLY, RELIES, CHANGES):
        yield "Pictures with other backgrounds than those it was trained on: its answers hang on them (see above)."
    findings = () if subject.audit is None else subject.audit.of("robustness", "robustness")
    bad = [f"{escaped(each.condition)} (right on {share(each.score)})" for each in findings if worse(subject, each)]
    if bad:
        yield f"Pictures that are worse than those it was scored on: {joined(bad)}."
    refused = dict.fromkeys(code(each.method) for each in subject.verdicts if each.status != "supported")
    if refused:
        yield f"Showing maps of {joined([*refused])} as the reason of an answer: not supported here."
    if not subject.verdicts:
        yield "Showing any heat map as the reason of an answer: none was tested."

"""Which columns of a table are the picture, its label and the rest: by Arrow's types and Hugging Face's notes."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from regard.data.dataset import listed
from regard.data.label_sets import SEPARATOR
from regard.errors import DataError

KEYS = ("filename", "file_name", "key", "__key__")
LABELS = ("label", "labels", "class", "category", "target")
CAPTIONS = ("caption", "captions", "text")
_PLAIN = ("is_string", "is_large_string", "is_integer", "is_floating", "is_boolean", "is_dictionary")
"""Arrow's tests for types of one value each, which stand beside a picture as a column of text."""
Features = Mapping[str, Any]
"""What Hugging Face's `datasets` notes of columns: `{"label": {"_type": "ClassLabel", "names": [...]}}`."""


@dataclass(frozen=True)
class Roles:
    """Columns by what they are: the `image`, whose bytes are a field of it or itself; `key`, `label`, `caption` and
    `split`, None where there is none; all others with a value each are `plain`. `names` are the classes of numbers;
    `unsure` are several columns that may be the label."""

    image: str
    is_struct: bool
    key: str | None = None
    label: str | None = None
    caption: str | None = None
    split: str | None = None
    plain: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    unsure: tuple[str, ...] = ()

    @property
    def described(self) -> list[str]:
        """The columns beside the picture's bytes."""
        chosen = filter(None, (self.key, self.label, self.caption, self.split))
        path = [f"{self.image}.path"] if self.is_struct else []
        return list(dict.fromkeys([*chosen, *self.plain, *path]))


def features_of(schema: pa.Schema) -> Features:
    """What a table that `datasets` wrote says of its columns; nothing of others."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, ValueError, TypeError):
        return {}
    return features if isinstance(features, dict) else {}


def roles(schema: pa.Schema, features: Features, image: str | None, label: str | None, address: str) -> Roles | None:
    """What the columns are; None where none holds the bytes of pictures, and none is named. Raises `DataError` for
    names that are not there and where several columns may be the picture."""
    column = image_column(schema, image, address)
    if column is None:
        return None
    names = [name for name in schema.names if name != column]
    chosen = label_column(schema, features, label, address, (column,))
    with_classes = [name for name in names if class_names(features.get(name))]
    unsure = tuple(with_classes) if chosen is None and len(with_classes) > 1 else ()
    lower = {name.lower(): name for name in names if name != chosen}
    key = next((lower[name] for name in KEYS if name in lower and is_text(schema.field(lower[name]).type)), None)
    caption = next((lower[name] for name in CAPTIONS if name in lower), None)
    split = lower.get("split")
    others = {column, chosen, key, caption, split}
    rest = [(name, schema.field(name).type) for name in names if name not in others]
    return Roles(
        column,
        pa.types.is_struct(schema.field(column).type),
        key,
        chosen,
        caption,
        split,
        plain=tuple(name for name, kind in rest if any(getattr(pa.types, test)(kind) for test in _PLAIN)),
        names=class_names(features.get(chosen)) if chosen else (),
        unsure=unsure,
    )


def label_column(
    schema: pa.Schema, features: Features, label: str | None, address: str, others: Sequence[str]
) -> str | None:
    """The column with the labels: the one that is named, `label`, the only one with classes, else one that is usually
    called so; None where there is none, or several have classes. Raises `DataError` for a name that is not there."""
    names = [name for name in schema.names if name not in others]
    if label is not None:
        if label not in names:
            raise DataError(f"{address} has no column {label!r} for --label; there are {listed(names, 8)}")
        return label
    if "label" in names:
        return "label"
    with_classes = [name for name in names if class_names(features.get(name))]
    usual = [name for name in names if name.lower() in LABELS]
    return next(iter(with_classes if len(with_classes) == 1 else usual if not with_classes else []), None)


def image_column(schema: pa.Schema, image: str | None, address: str) -> str | None:
    """The column with the bytes of pictures. Raises `DataError` where that is another or cannot be told."""
    binary = [
        column.name
        for column in schema
        if _is_binary(column.type)
        or (
            pa.types.is_struct(column.type)
            and any(each.name == "bytes" and _is_binary(each.type) for each in column.type)
        )
    ]
    if image is not None:
        if image not in schema.names:
            raise DataError(f"{address} has no column {image!r} for --image; there are {listed(schema.names, 8)}")
        return image if image in binary else None
    if len(binary) > 1:
        raise DataError(f"{address} has {len(binary)} columns of pictures ({listed(binary, 8)}); choose one by --image")
    return binary[0] if binary else None


def label_text(value: Any, names: Sequence[str], where: str) -> str | None:
    """A label as text; of a number with classes its name; of several, all with `|` between. None where there is none.

    Raises `DataError` for a number that is no class.
    """
    if isinstance(value, list):
        return SEPARATOR.join(filter(None, (label_text(each, names, where) for each in value)))
    if value is None or (names and value == -1):  # Hugging Face's sign for no label
        return None
    if names and isinstance(value, int):
        if not 0 <= value < len(names):
            raise DataError(f"{where}: the label {value} is none of the {len(names)} classes, 0 to {len(names) - 1}")
        return names[value]
    return str(value).strip() or None


def class_names(feature: Any) -> tuple[str, ...]:
    if isinstance(feature, list) and len(feature) == 1:  # several labels, as older versions write them
        return class_names(feature[0])
    if not isinstance(feature, dict):
        return ()
    if feature.get("_type") in ("Sequence", "List", "LargeList"):
        return class_names(feature.get("feature"))
    return tuple(feature.get("names") or ()) if feature.get("_type") == "ClassLabel" else ()


def _is_binary(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind))


def is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))

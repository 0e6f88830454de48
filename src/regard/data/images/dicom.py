"""DICOM as a picture of Pillow's: grey through its window, as a float in 0..1, or in colour.

Of the values, in this order: rescale slope and intercept (or the modality's table), the first window (or the table of
values of interest), and MONOCHROME1 inverted, as PS3.3 C.7.6.3, C.11.1 and C.11.2 have it. Without a window all that
the stored bits can hold is shown.
"""

import importlib.util
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

MAGIC = b"DICM"  # behind 128 bytes of anything
_BARE = (b"\x02\x00\x00\x00", b"\x08\x00\x00\x00", b"\x08\x00\x05\x00", b"\x08\x00\x08\x00", b"\x08\x00\x16\x00")
"""With what a file begins that leaves these out: the first element of its group."""
_DEFLATED = b"1.2.840.10008.1.2.1.99"
GREY = ("MONOCHROME1", "MONOCHROME2")

Floats = NDArray[np.float64]


class RefusedError(Exception):
    """A picture is whole, but cannot be read as it is; the text goes on from its name, which is `{name}` in it."""


class MissingExtraError(RefusedError):
    """A picture of a kind that an extra reads which is not installed."""

    def __init__(self, kind: str, extra: str) -> None:
        super().__init__(f"is {kind}, for which an extra is needed: pip install 'regard[{extra}]'")


def is_dicom(head: bytes) -> bool:
    """Whether a file that begins so, with 132 bytes at least, is DICOM."""
    return head[128:132] == MAGIC or head.startswith(_BARE)


class DicomImage(ImageFile.ImageFile):
    """A DICOM file whose header is read; `load` decodes. Of several frames one must be chosen first, by `seek`."""

    format = "DICOM"
    format_description = "DICOM"
    n_frames = 1
    _frame: int | None = None
    _is_decoded = False

    def _open(self) -> None:
        if importlib.util.find_spec("pydicom") is None:
            raise MissingExtraError("DICOM", "dicom")
        import pydicom

        assert self.fp is not None
        self._check_deflated(self.fp)
        header = pydicom.dcmread(self.fp, stop_before_pixels=True, force=True)
        if not header.get("Rows") or not header.get("Columns"):
            kind = getattr(header.get("SOPClassUID"), "name", "") or "of unknown kind"
            raise RefusedError(f"is DICOM without a picture ({kind}); remove it, or skip such with --skip-bad")
        self.n_frames = int(header.get("NumberOfFrames") or 1)
        self._size = (int(header.Columns), int(header.Rows))
        self._mode = "F" if header.PhotometricInterpretation in GREY else "RGB"

    def _check_deflated(self, stream: IO[bytes]) -> None:
        """A deflated file is unpacked as a whole before its size is known."""
        head = stream.read(1024)
        stream.seek(0)
        if _DEFLATED in head:
            raise RefusedError("is deflated DICOM, which is not read; save it in another transfer syntax")

    def seek(self, frame: int) -> None:
        if not 0 <= frame < self.n_frames:
            raise EOFError("no such frame")
        self._frame = frame

    def tell(self) -> int:
        return self._frame or 0

    def load(self) -> Any:
        if not self._is_decoded:
            self._check_frame()
            self._decode()
        return super().load()

    def _check_frame(self) -> None:
        if self.n_frames > 1 and self._frame is None:
            raise RefusedError(
                f"has {self.n_frames} frames; name one of them by its number from 1, as in {{name}}#page=1, in a "
                "table or as an argument"
            )

    def _decode(self) -> None:
        import pydicom

        assert self.fp is not None
        self.fp.seek(0)
        dataset = pydicom.dcmread(self.fp, force=True)
        if "PixelData" not in dataset:
            raise RefusedError("is DICOM without pixels that are read; remove it, or skip such with --skip-bad")
        values = _stored(dataset, self.tell() if self.n_frames > 1 else None)
        if values.shape[:2] != self.size[::-1]:
            raise ValueError(f"{values.shape[0]} × {values.shape[1]} pixels where its header says {self.size[::-1]}")
        self.im = Image.fromarray(_grey(values, dataset) if self.mode == "F" else _colour(values, dataset)).im
        self.tile = []
        self._is_decoded = True


def _stored(dataset: Any, frame: int | None) -> NDArray[Any]:
    """(rows, columns) or (rows, columns, 3): the stored values of a frame, colours as red, green and blue."""
    from pydicom.pixels import get_decoder, pixel_array
    from pydicom.uid import ImplicitVRLittleEndian

    if "TransferSyntaxUID" not in dataset.file_meta:
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian  # what it is where nothing is said
    syntax = dataset.file_meta.TransferSyntaxUID
    try:
        is_readable = get_decoder(syntax).is_available
    except NotImplementedError:
        is_readable = False
    if not is_readable:
        raise RefusedError(
            f"is compressed as {syntax.name}, which is not read here; save it uncompressed, or as JPEG 2000"
        )
    return np.asarray(pixel_array(dataset, index=frame))


def _grey(stored: NDArray[Any], dataset: Any) -> NDArray[np.float32]:
    """(rows, columns) in 0..1 as the file wants to be shown."""
    from pydicom.pixels import apply_modality_lut, apply_voi

    if stored.ndim != 2:
        raise ValueError(f"{stored.shape[2]} values for a pixel that is grey")
    values = apply_modality_lut(stored, dataset)
    if dataset.get("WindowWidth") is not None and dataset.get("WindowCenter") is not None:
        share = windowed(
            values.astype(np.float64),
            _first(dataset.WindowCenter),
            _first(dataset.WindowWidth),
            str(dataset.get("VOILUTFunction") or "LINEAR").upper(),
        )
    elif dataset.get("VOILUTSequence"):
        table = dataset.VOILUTSequence[0]
        share = apply_voi(np.rint(values).astype(np.int64), dataset) / (2.0 ** table.LUTDescriptor[2] - 1)
    else:
        bits = int(dataset.BitsStored)
        least = -(2 ** (bits - 1)) if dataset.PixelRepresentation else 0
        ends = apply_modality_lut(np.array([least, least + 2**bits - 1]), dataset).astype(np.float64)
        if dataset.get("ModalityLUTSequence"):
            ends = np.array([0.0, 2.0 ** dataset.ModalityLUTSequence[0].LUTDescriptor[2] - 1])
        if ends[0] == ends[1]:
            raise ValueError("a rescale slope of 0")
        share = (values.astype(np.float64) - ends.min()) / np.ptp(ends)
    share = np.clip(share, 0.0, 1.0)
    return (1.0 - share if dataset.PhotometricInterpretation == "MONOCHROME1" else share).astype(np.float32)


def windowed(values: Floats, centre: float, width: float, function: str = "LINEAR") -> Floats:
    """Values as shares of a window, black below 0 and white above 1 (PS3.3 C.11.2.1.2 and C.11.2.1.3)."""
    if function not in ("LINEAR", "LINEAR_EXACT", "SIGMOID"):
        raise RefusedError(
            f"has a window by {function}, which is not known; there are LINEAR, LINEAR_EXACT and SIGMOID"
        )
    if not width >= 1 and not (width > 0 and function != "LINEAR"):
        raise RefusedError(f"has a window of width {width:g}; mend its WindowWidth, or remove the window")
    if function == "SIGMOID":
        return 1 / (1 + np.exp(np.clip(-4 * (values - centre) / width, -700, 700)))
    if function == "LINEAR":
        centre -= 0.5
        width -= 1
    if width == 0:
        return (values > centre).astype(np.float64)
    return np.asarray((values - centre) / width + 0.5)


def _first(value: Any) -> float:
    """A number, or the first of several."""
    return float(value if isinstance(value, int | float | str) or not hasattr(value, "__len__") else value[0])


def _colour(stored: NDArray[Any], dataset: Any) -> NDArray[np.uint8]:
    """(rows, columns, 3) uint8."""
    from pydicom.pixels import apply_color_lut

    bits = int(dataset.BitsStored)
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        stored = apply_color_lut(stored, dataset)
        bits = 8 * stored.dtype.itemsize
    if stored.ndim != 3 or stored.shape[2] != 3:
        raise RefusedError(f"is DICOM of {dataset.PhotometricInterpretation}, which is not read; save it as RGB")
    return np.clip(np.rint(stored * (255 / (2**bits - 1))), 0, 255).astype(np.uint8)

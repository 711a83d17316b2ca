"""Starting masks from a network that knows what subjects look like: the package ``rembg`` (extra ``rembg``)."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from taichi_vvc.capture.foreground import BACKGROUND, SUBJECT, UNSURE, tidied
from taichi_vvc.capture.masking import Starter
from taichi_vvc.errors import DataError

SURE, POSSIBLE = 128, 16  # 8-bit values of the network's matte from which a pixel is the subject, or may be


def from_rembg(model: str) -> Starter:
    """Labels from a model of rembg. Nothing is downloaded: the model's file must be where rembg looks for it.

    Raises:
        DataError: rembg or the model's file is missing, or the model cannot be used.
    """
    try:
        import rembg
    # Without onnxruntime, rembg ends the program as it is imported.
    except (ImportError, SystemExit):
        raise DataError(
            '--rembg needs rembg with a runtime for its models, which is not installed; pip install "taichi_vvc[rembg]"'
        ) from None
    home = os.environ.get("U2NET_HOME") or os.path.join(os.environ.get("XDG_DATA_HOME") or "~", ".u2net")
    file = Path(home).expanduser() / f"{model}.onnx"
    if not file.is_file():
        raise DataError(
            f"expected the model {model} of rembg as {file}, found no such file; it is yours to get: rembg d {model}"
        )
    try:
        session = rembg.new_session(model)
    except Exception as error:  # whatever the runtime makes of a damaged file
        raise DataError(f"{file}: cannot use it as a model of rembg: {error}") from None

    def start(_number: int, image: np.ndarray) -> np.ndarray:
        matte = np.asarray(rembg.remove(np.ascontiguousarray(image), session=session, only_mask=True))
        matte = matte.reshape(*matte.shape[:2], -1)[..., 0]
        found = np.where(matte >= POSSIBLE, np.uint8(UNSURE), np.uint8(BACKGROUND))
        found[matte >= SURE] = SUBJECT
        return tidied(found)

    return start

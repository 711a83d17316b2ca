"""What a frame is predicted from, and what its fit starts with."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from taichi_vvc.coding.known import Known, known_grids
from taichi_vvc.coding.live_set import live_nodes
from taichi_vvc.coding.motion import moved_symbols
from taichi_vvc.decode import previous_residuals
from taichi_vvc.types import FieldLayout, GroupParameters, SymbolFrame


@dataclass(frozen=True)
class Reference:
    """A decoded frame: its integers, and the parameters of its group."""

    frame: SymbolFrame
    parameters: GroupParameters


@dataclass(frozen=True)
class Prediction:
    """What a frame is predicted from, and what its fit starts with.

    There are three kinds, made by :meth:`scratch`, :meth:`going_on` and :meth:`inter`:

    - A key frame from scratch: its fit starts with random grids and MLPs.
    - A key frame where the scene goes on: its fit starts with the decoded frame before it. The decoder needs that frame
      for nothing but the MLPs, and for those only if they are kept.
    - An inter frame: what is fitted is its residual against the decoded frame before it.

    Attributes:
        key: whether the frame is a key frame, which is predicted from nothing.
        reference: the decoded frame before; None from scratch.
        keep_mlp: whether the MLPs stay those of the reference. Else they are fitted.
        motion: (mz, my, mx, 3) int32, displacements by which the symbols of the reference have been moved; None: they
            are as they were decoded.
        steady: whether a key frame that goes on stays near the reference, and has its steps.
    """

    key: bool
    reference: Reference | None
    keep_mlp: bool
    motion: np.ndarray | None = None
    steady: bool = False

    @staticmethod
    def scratch() -> Prediction:
        """Of a key frame whose fit starts with random numbers."""
        return Prediction(True, None, False)

    @staticmethod
    def going_on(reference: Reference, keep_mlp: bool = False, steady: bool = False) -> Prediction:
        """Of a key frame whose fit starts with the decoded frame before it."""
        return Prediction(True, reference, keep_mlp, steady=steady)

    @staticmethod
    def inter(reference: Reference) -> Prediction:
        """Of an inter frame."""
        return Prediction(False, reference, True)

    @property
    def predicted_from(self) -> SymbolFrame | None:
        """The frame that the residuals are added to; None for a key frame."""
        return None if self.key or self.reference is None else self.reference.frame

    def known(self, grids: int) -> list[Known]:
        """What a decoder has of each of the frame's ``grids`` before it reads their symbols."""
        before = self.predicted_from
        return known_grids(grids, previous_residuals(before), None if before is None else before.symbols)

    def moved(self, layout: FieldLayout, motion: np.ndarray, mask: np.ndarray) -> Prediction:
        """The same with the symbols of the reference moved to where the scene has gone.

        Args:
            motion: displacements, see :attr:`motion`.
            mask: (nz, ny, nx) bool, where samples may be taken.
        """
        assert self.reference is not None
        before = self.reference.frame
        symbols = moved_symbols(layout, before.symbols, motion, live_nodes(layout, mask))
        return replace(self, reference=replace(self.reference, frame=replace(before, symbols=symbols)), motion=motion)

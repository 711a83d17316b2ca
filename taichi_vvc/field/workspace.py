"""Device arrays that a batch of rays passes through, kept so that nothing is allocated per step."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from taichi_vvc.runtime import Runtime


@dataclass
class Workspace:
    """Device arrays of a batch of rays and its samples, allocated by name and grown when needed."""

    runtime: Runtime
    arrays: dict[str, Any] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)

    def get(self, name: str, count: int, dtype: Any = np.float32, spare: bool = True) -> Any:
        """The array called ``name`` with at least ``count`` elements; contents survive only while it suffices.

        ``spare``: a third on top, since the number of samples changes from batch to batch.
        """
        if self.sizes.get(name, -1) < count:
            self.sizes[name] = count + (count // 3 + 64 if spare else 0)
            self.arrays[name] = None
            self.runtime.sync()
            self.arrays[name] = self.runtime.empty(self.sizes[name], dtype)
        return self.arrays[name]

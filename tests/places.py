"""Where the checkout and the golden files are, whichever room a test file stands in."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "tests" / "data"

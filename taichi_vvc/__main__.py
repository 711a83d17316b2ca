"""``python -m taichi_vvc`` is the ``tvvc`` command."""

from taichi_vvc.cli import main

if __name__ == "__main__":
    main()

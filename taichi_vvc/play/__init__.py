"""Playback: decoding ahead in a thread, the player in the browser, and previews of a running encode.

:class:`~taichi_vvc.play.viewer.Viewer` is the player of ``tvvc view``, built on the package viser.
:class:`~taichi_vvc.play.playback.Playback` decodes frames in a background thread and keeps them packed in memory.
``play/guard.py`` filters the requests and messages of browsers. :class:`~taichi_vvc.play.preview.PreviewWriter` writes
the pictures of ``tvvc encode --preview``. The room may import ``encode``, ``decode`` and all rooms below them; only
``cli/`` imports it.
"""

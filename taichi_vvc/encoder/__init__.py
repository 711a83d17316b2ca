"""Decisions of the encoder for each frame: key or inter, its lambda, the views to trust, where to resume.

``encoder/frames.py`` runs the loop over the frames of a file or of a part; ``encoder/settle.py`` finds what is settled
before it. ``encoder/rate_control.py`` chooses the lambda of each frame, ``encoder/first_lambda.py`` the one to begin
with, and ``encoder/targets.py`` measures what rate control aims at. ``encoder/frame.py`` compares the costs of key and
inter frames. ``encoder/trusted_views.py`` leaves out views whose masks contradict the others, and ``encoder/resume.py``
restores the state of an encode from its unfinished file. The room imports from ``fit/``, ``decode`` and the rooms below
them; only ``encode``, ``parts/`` and ``measure/`` import it.
"""

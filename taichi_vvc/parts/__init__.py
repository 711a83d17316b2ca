"""Encodes in parts: runs of whole groups that are fitted apart from each other, and put together in order.

``parts/plan.py`` says which frames are in which part, ``parts/prepare.py`` finds once what all parts share, and
``parts/rate.py`` gives each part its share of a target. ``parts/folder.py`` keeps the parts beside the output until the
file is whole, and ``parts/coding.py`` codes and assembles them. The room imports from ``encoder/`` and the rooms below.
"""

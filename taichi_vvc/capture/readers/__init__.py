"""Readers of capture layouts: one module per layout, and the modules that several of them share.

A reader takes the path of the file that describes a capture and returns a :class:`CaptureIndex`
(``capture/readers/index.py``): cameras, times and the places of the pictures. Pictures are read later.
``capture/readers/layouts.py`` lists the layouts and recognises them; a new reader is added there.
``capture/readers/rig.py`` builds the index of calibrated cameras that stand still, with one clip (a video or a folder
of pictures) each. ``capture/readers/transforms.py`` builds it from a document of the form of ``transforms.json``. The
readers import from ``media/``, ``geometry/``, ``types`` and ``errors`` and from the modules of ``capture/`` beside
them.
"""

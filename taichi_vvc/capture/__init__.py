"""Reading captures: a multi-view recording on disk becomes a lazy sequence of frames with cameras and bounds.

``capture/sequence.py`` is the entry point: ``open_capture`` finds the layout, indexes the pictures and settles masks
and bounds. ``capture/readers/`` has one module per layout on disk. The other modules derive geometry from cameras and
masks: the visual hull, the bounds, views whose masks disagree, poses read with the wrong axes, and camera paths for
rendering. ``capture/storable.py`` refuses a capture that no file could hold, and asks ``coding/`` and ``bitstream/``
for their limits. The room imports from ``media/``, ``geometry/``, ``coding/``, ``bitstream/``, ``words``, ``types``
and ``errors``; nothing here needs a device.
"""

"""The fit of one frame on the device: gradient descent through the quantiser and the rate model.

``fit/optimize.py`` has ``fit_frame``, which minimises distortion plus lambda times rate and returns integer symbols.
``fit/training_rays.py`` holds the training pictures on the device, ``fit/colour_error.py`` the distortion term and
``fit/rate.py`` the rate term. ``fit/motion_search.py`` finds the displacements that an inter frame is predicted with.
``fit/occupancy.py`` decides which cells are sampled. The room imports from ``field/``, ``coding/``, ``capture/`` (for
the visual hull), ``media/``, ``geometry/``, ``kernels/``, ``runtime`` and ``config``; it writes no files.
"""

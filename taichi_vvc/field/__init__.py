"""The radiance field on the device: feature grids, MLPs, ray marching, shading and pictures.

:class:`~taichi_vvc.field.grids.Field` holds the grids, the MLPs and the occupancy mask in the layout that the kernels
read. ``field/render.py`` makes rays, samples and pictures from it; ``field/shading.py`` and ``field/mlp.py`` have the
forward and adjoint passes that the fit uses, too. ``field/workspace.py`` keeps the device arrays that are allocated
once. The room imports from ``kernels/``, ``coding/``, ``geometry/``, ``runtime`` and ``types``; it knows neither
captures nor files.
"""

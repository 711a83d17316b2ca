"""What other programs read: meshes, point clouds, Gaussian splats, and views with depth of decoded frames.

``surface.py`` finds the level set of opacity, ``colours.py`` what the cameras see on it, ``shapes.py`` puts both
together; ``gltf.py``, ``ply.py``, ``splats.py`` and ``views.py`` know the files. Only ``cli/`` imports the room.
"""

"""What other programs read: meshes, point clouds and Gaussian splats of decoded frames.

``surface.py`` finds the level set of opacity, ``colours.py`` what the cameras see on it, ``shapes.py`` puts both
together; ``gltf.py``, ``ply.py`` and ``splats.py`` know the files. Only ``cli/`` imports the room.
"""

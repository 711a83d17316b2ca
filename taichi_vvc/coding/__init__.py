"""Entropy coding: decoded integers to bytes and back, with contexts, frequency tables and headers.

``coding/entropy.py`` codes grids of symbols and is the only module that imports constriction.
``coding/choose_tables.py`` chooses the contexts and tables of a grid; the fit uses the same choice as its rate model.
Occupancy masks, displacements, camera poses and MLP weights have a module each, and ``coding/headers.py`` translates
between the records of ``bitstream/`` and the package's types. Everything that influences decoding is integer
arithmetic, so that every machine decodes the same symbols. The room imports from ``bitstream/``, ``config``,
``types`` and ``errors``; nothing here needs a device.
"""

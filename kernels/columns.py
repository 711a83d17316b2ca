"""Columns of the tables that kernels read: one definition for the kernels and for the host that fills the tables.

A table is a flat array of rows of ``ROW`` numbers, so column ``c`` of row ``r`` is ``table[r * ROW + c]``. Where the
comment names several numbers, the constant is the column of the first and the others follow it. Columns behind the last
one named are not used. Kernels take the constants in when they are compiled.
"""


class Ray:
    """Floats."""

    ROW = 8
    ORIGIN = 0  # x, y, z, cells
    DIRECTION = 3  # x, y, z, unit length
    ENTRY = 6  # distance at which it enters the bounds, cells
    EXIT = 7  # distance at which it leaves them, cells; below ENTRY where it misses them


class Camera:
    """Floats."""

    ROW = 23
    ROTATION = 0  # 9 numbers, row-major, camera to world
    POSITION = 9  # x, y, z, cells
    FOCAL = 12  # fx, fy, pixels
    CENTRE = 14  # cx, cy, pixels
    DISTORTION = 16  # k1, k2, p1, p2 of the Brown-Conrady model
    IMAGE = 20  # width, height, pixels
    LIMIT = 22  # squared normalised radius up to which the distortion can be inverted


class Group:
    """Integers of a group of channels that are looked up together."""

    ROW = 16
    CHANNELS = 0  # 4, 2 or 1
    FEATURE = 1  # number of its first feature
    COEFFICIENTS = 2  # where its part of the coefficient grid begins in the flat values
    COEFFICIENT_NODES = 3  # along x, y, z
    BASIS = 6  # where its part of the basis grid begins in the flat values
    BASIS_NODES = 7  # along x, y, z


class GroupScale:
    """Floats of a group of channels, beside :class:`Group`."""

    ROW = 8
    COEFFICIENTS = 0  # nodes of the coefficient grid per cell along x, y, z
    TILE = 3  # length of the tile that the basis grid spans, cells
    BASIS = 4  # nodes of the basis grid per cell along x, y, z


class SymbolGrid:
    """Floats of a grid whose live symbols are fitted. Integers take two columns: value // SPLIT and the rest."""

    ROW = 20
    SPLIT = 4096  # two floats are exact far beyond 2^24
    FIRST_BLOCK = 0  # integer
    FIRST_SYMBOL = 2  # integer
    END_SYMBOL = 4  # integer, last symbol + 1
    BLOCKS = 6  # integer, how many
    STEP = 8  # of the quantiser, grid values per symbol
    OFFSET = 9  # grid value of symbol 0
    SPEED = 10  # learning rate divided by (1 - beta1^t)
    MAGNITUDE = 11  # weight of the sum of |residual|
    RATE = 12  # which gradient the rate has: NO_RATE, TABLES or GIVEN of ``update.py``
    RATE_WEIGHT = 13  # of the bits in the loss
    LARGEST = 14  # symbol that the tables of the rate reach to
    BETA1 = 15  # Adam
    BETA2 = 16
    CORRECTION = 17  # 1 / (1 - beta2^t)
    EPSILON = 18


class MovedGrid:
    """Floats of a grid that motion moves."""

    ROW = 16
    NODES = 0  # along x, y, z
    PER_CELL = 3  # nodes per cell along x, y, z
    STEP = 6  # of the quantiser, grid values per symbol
    OFFSET = 7  # grid value of symbol 0
    FIRST_PIECE = 8
    PIECES = 9  # how many


class Piece:
    """Integers of the channels of a moved grid that lie side by side in the flat values."""

    ROW = 2
    FIRST = 0  # where they begin in the flat values
    CHANNELS = 1


class Entry:
    """Floats of a node of a moved grid."""

    ROW = 8
    NODE = 0  # x, y, z
    BELOW = 3  # flat index of the lattice node below it
    ABOVE = 4  # how far it is above that along x, y, z, 0 .. 1
    GRID = 7  # row of its :class:`MovedGrid`


class ContextKind:
    """Integers: weights of the features of one kind of pass in :class:`ContextSettings`."""

    ROW = 12
    OWN = 0  # three distances: the channel's own neighbours
    EVERY = 3  # three distances: neighbours, all channels
    BEFORE = 6  # the previous residual at the node, at its faces, and over all channels
    BENEATH = 9  # what the symbol is added to
    PREFIX = 10  # channels before
    MEAN = 11


class ContextSettings:
    """Integers of a grid's symbols under one set of context weights. A row is as long as its grid needs."""

    KINDS = 0  # four rows of :class:`ContextKind`
    MASKS = 48  # by class of nodes (8): bits of the neighbours that are known
    KIND_OF = 56  # by class of nodes (8): which of the kinds
    CHANNELS = 64
    FIRST_NODE = 65  # in the list of live nodes
    FIRST_SYMBOL = 66
    BASE = 67  # where the grid's bordered volume begins, numbers
    START = 68  # the same, nodes
    WIDTH = 69  # nodes from a row of the bordered volume to the next
    AREA = 70  # nodes from a slice of it to the next
    SHIFT = 71  # of the bits that hold the table in ``found``
    SLOT = 72  # counters of the grid's first table
    HAS_BEFORE = 73  # 1: there is a previous residual
    HAS_BENEATH = 74  # 1: there is a reference
    MEANS = 75  # by channel

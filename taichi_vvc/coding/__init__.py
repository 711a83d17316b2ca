"""Symbols to bytes and back: contexts, tables, occupancy masks, motion, live sets, headers. Integers only."""

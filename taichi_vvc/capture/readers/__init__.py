"""One module per layout of captures on disk, and what they share. Each hands over an index of cameras and frames."""

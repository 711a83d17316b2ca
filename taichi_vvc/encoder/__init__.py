"""What an encode decides frame by frame: key frames, groups, retries, rate control, resuming."""

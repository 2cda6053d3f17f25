"""Files to frames: which clips there are, and each one decoded to the same shape."""

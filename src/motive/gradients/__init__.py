"""Motion-weighted loss gradients, streamed into a projection."""

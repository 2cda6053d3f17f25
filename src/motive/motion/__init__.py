"""Frames to displacement to mask: where in a clip, and how much, things move."""

"""Text-to-video models behind one small interface."""

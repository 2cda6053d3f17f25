"""Where work runs; what the work is, it does not know."""

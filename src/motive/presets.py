"""Settings under a name."""

from typing import Any

from motive.sigmas import spread_sigmas

PRESETS: dict[str, dict[str, Any]] = {
    "paper": {
        "motion": {
            "floor": 0.0,
            "quantiles": None,
            "camera": "keep",
            "full": None,
            "cuts": "keep",
            "noise": "keep",
            "shape": "soft",
            "dilation": 0,
            "pooling": "mean",
        },
        "gradients": {
            "weighting": "motion",
            "sigmas": [0.75075],
            "draws": 1,
            "error": "whole",
            "parameters": ["*"],
            "projector": "fastfood",
            "dim": 512,
        },
        "store": {"features": "float32"},
        "influence": {"hessian": "identity"},
        "selection": {"keep": 0.1},
    },
    "best": {
        "gradients": {
            "weighting": "queries",
            "sigmas": list(spread_sigmas(16)),
            "draws": 16,
            "average": "directions",
            "error": "temporal",
            "parameters": ["*.attn1.*"],
            "dim": 2048,
        },
        "store": {"features": "int8"},
        "influence": {"hessian": "kernel"},
    },
}
"""Settings that `preset: NAME` stands for, under whatever is set beside it. paper: the method as published, but for its
tracker; best: what predicts training best in the lab (docs/results.md). Sixteen draws; of the error, what changes over time; of
the parameters, self-attention, where frames see each other; the kernel inverse. Features in one byte a number score alike."""

"""What a report says first: what was run, on what, how much of it, how long it took, and what to be careful about."""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from motive.attribution.notes import read_notes
from motive.config import Config, stage_config
from motive.report import figures
from motive.report.choice import shape
from motive.report.clips import Films
from motive.report.standing import Standing

TIMES = {
    "attributing": "Forward and backward passes",
    "inputs": "Waiting for clips: decoding, tracking, encoding",
    "writing": "Writing features",
}


def summarise(standing: Standing, films: Films, missing: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    """All of the page's data but clips, queries' scores, videos and arms. missing: what has not been made, with commands."""
    config, scores, selection = standing.config, standing.scores, standing.selection
    height, width = shape(config)
    return {
        "made": time.strftime("%Y-%m-%d %H:%M"),
        "name": config.out.name,
        "settings": _leaves(config.model_dump(mode="json")),
        "brief": _brief(config),
        "counts": {
            "pool": standing.pool,
            "scored": len(scores),
            "kept": len(selection.kept),
            "harmful": len(selection.harmful),
            "queries": len(scores.queries),
            "unscored": standing.unscored_count,
        },
        "keep": config.selection.keep,
        "trained": scores.trained,
        "error_bar": scores.error_bar,
        "cosine": scores.error_bar is not None,
        "sure": selection.sure,
        "caveats": standing.caveats,
        "missing": list(missing),
        "queries": _queries(standing, films),
        "film": {"height": height, "width": width, "frames": config.video.frames, "fps": config.video.fps},
        "scores": figures.of_scores(standing),
        "motion": figures.of_motion(standing),
        "overlap": figures.overlap(standing),
        "without_score": standing.unscored,
        "costs": _costs(config),
    }


def _queries(standing: Standing, films: Films) -> list[dict[str, Any]]:
    rows = standing.scores.queries
    return [
        {
            "id": row["id"],
            "name": row["name"],
            "caption": row["caption"],
            "label": row["label"],
            "motion": row["motion_sustained"],
            "film": films.get(row["key"], ""),
            "cut": float(cut),
        }
        for row, cut in zip(rows, standing.selection.cuts, strict=True)
    ]


def _brief(config: Config) -> list[list[str]]:
    """What most readers ask of the settings."""
    video, gradients, influence = config.video, config.gradients, config.influence
    sigmas = gradients.sigmas
    levels = ", ".join(f"{sigma:g}" for sigma in sigmas) if len(sigmas) <= 4 else f"{min(sigmas):.2g} to {max(sigmas):.2g}"
    draws = gradients.draws or len(sigmas)
    loss = {"motion": "weighted by motion", "uniform": "of the whole video", "queries": "weighted by motion in queries only"}
    return [
        ["Model", str(config.model.path)],
        ["Pool", str(config.pool)],
        ["Queries", str(config.queries)],
        ["Clips as seen", f"{video.frames} frames of {video.width} × {video.height} at {video.fps:g} frames a second"],
        ["Motion", f"tracker {config.motion.tracker}, camera {config.motion.camera}, floor {config.motion.floor:g} px/frame"],
        ["Loss", f"{loss[gradients.weighting]}, error {gradients.error}"],
        ["Gradients", f"{draws} a clip, at noise levels {levels}; {gradients.dim} numbers a feature ({gradients.projector})"],
        ["Parameters", ", ".join(gradients.parameters)],
        ["Influence", {"identity": "cosine of features", "kernel": "kernel inverse of features"}[influence.hessian]],
        ["Kept", f"the best {config.selection.keep:.0%} by votes; seed {config.seed}"],
    ]


def _costs(config: Config) -> list[dict[str, Any]]:
    """Seconds that workers say they have spent, by stage and kind; they say it for a day."""
    found = []
    stages = [(f"coarse stage {n}", stage_config(config, n)) for n in range(1, len(config.cascade) + 1)]
    for name, stage in [*stages, ("", config)]:
        seconds: Counter[str] = Counter()
        notes = read_notes(stage.out / "workers")
        for note in notes:
            seconds.update(note.seconds)
        rows = sum(sum(note.done.values()) for note in notes)
        for kind, told in TIMES.items():
            if seconds[kind]:
                found.append({"what": told + (f" ({name})" if name else ""), "seconds": seconds[kind], "clips": rows})
    return found


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> list[list[str]]:
    lines: list[list[str]] = []
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            lines += _leaves(value, f"{prefix}{key}.")
        else:
            lines.append([f"{prefix}{key}", "" if value is None else str(value)])
    return lines

"""Runs for tests of the report: the tiny one through the real verbs, a large one through the project's own writers, and what
training, generation and evaluation leave in a run's folder."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa

from motive.attribution.run_stores import store_place
from motive.attribution.scores import Facts, write_scores
from motive.attribution.store import Store
from motive.config import Config
from motive.files import new_file, write_json, write_jsonl
from motive.video.write import write_video
from tests.conftest import moving_square

HOSTILE = {
    "markup": "<img src=x onerror=alert(1)></script><script>alert(2)</script>",
    "escape": "\x1b[31mred\x1b[0m \u202eback\u202c \u2028 'single' \"double\" & {{ 7 * 7 }}",
    "code": "`;motiveData('run',null);//*/ ${alert(3)} \x00\x07",
}
ARMS = ("base", "motive", "random@1")


def add_arms(out: Path, clips: list[str], queries: list[str]) -> None:
    """Arms, samples and metrics, with hostile prompts."""
    write_jsonl(
        out / "samples" / "prompts.jsonl", [{"id": id, "prompt": text, "motion": "slide"} for id, text in HOSTILE.items()]
    )
    for a, arm in enumerate(ARMS):
        for p, prompt in enumerate(HOSTILE):
            for seed in (0, 1):
                frames = moving_square(5, speed=1.0 + a, seed=9 * a + 3 * p + seed)
                write_video(out / "samples" / arm / f"{prompt}-{seed}.mp4", frames, 8)
        facts = {"arm": arm, "name": arm.partition("@")[0], "seed": 0, "steps": 40, "clips": 3, "settings": {}, "seconds": 12.5}
        write_json(out / "arms" / arm / "arm.json", facts | {"state": "done"})
        write_jsonl(out / "arms" / arm / "loss.jsonl", [{"step": n, "loss": 1 / (n + 1 + a), "rate": 1e-5} for n in range(40)])
    total: dict[str, list[float]] = {}
    lines = []
    for step in range(0, 40, 5):
        batch = {clip: [float(np.sin(step + n + q)) for q in range(len(queries))] for n, clip in enumerate(clips)}
        for clip, row in batch.items():
            total[clip] = [a + b for a, b in zip(total.get(clip, [0.0] * len(row)), row, strict=True)]
        lines.append({"step": step, "queries": queries, "clips": batch, "total": dict(total)})
    write_jsonl(out / "arms" / "motive" / "influence.jsonl", lines)
    with (out / "arms" / "motive" / "influence.jsonl").open("a") as file:
        file.write('{"step": 40, "que')  # as a writer leaves it for a moment
    write_json(out / "metrics.json", metrics())


def metrics() -> dict:
    def value(mean: float) -> dict:
        return {"mean": mean, "low": mean - 0.05, "high": mean + 0.05, "n": 12, "unit": "share", "better": "higher"}

    arms = {
        name: {
            "seeds": [0],
            "metrics": {"dynamic_degree": value(0.4 + 0.1 * n), "correct_motion": value(0.3 + 0.2 * n)},
            "motions": {"slide": {"dynamic_degree": value(0.2 + 0.1 * n)}},
        }
        for n, name in enumerate(("base", "motive", "random"))
    }
    compared = {
        "metric": "correct_motion",
        "a": "motive",
        "b": "random",
        "difference": 0.2,
        "low": 0.1,
        "high": 0.3,
        "p": 0.01,
        "n": 12,
    }
    return {
        "version": 1,
        "arms": arms,
        "comparisons": [compared],
        "samples": [],
        "notes": ["three <b>seeds</b> would be surer"],
        "official": {"dimensions": ["dynamic_degree"], "arms": {"motive": {"dynamic_degree": 0.75}}},
    }


def synthetic(config: Config, count: int, queries: int) -> None:
    """Scores of `count` clips without videos, as the verbs would have written them, and empty stores beside."""
    rng = np.random.default_rng(3)
    config.out.mkdir(parents=True, exist_ok=True)
    for which in ("pool", "queries"):
        Store(store_place(config, which), {"made": "for a test"}, 4, "float32")
    quality = rng.normal(size=(count, 1)) * 0.2
    influence = (quality + rng.normal(size=(count, queries)) * 0.1).astype(np.float32)
    names = [f"clip_{n:05}" for n in range(count)]
    speed = np.abs(rng.normal(size=count)) * 3
    rows = {
        "id": names,
        "key": [f"{n:064x}" for n in range(count)],
        "name": [f"{name}.mp4" for name in names],
        "path": [f"/nowhere/{name}.mp4" for name in names],
        "caption": [
            list(HOSTILE.values())[n] if n < 3 else f"a {('red', 'blue')[n % 2]} ball number {n}" for n in range(count)
        ],
        "sha256": ["0" * 64] * count,
        "label": ["static" if v < 0.25 else "moving" for v in speed],
        "motion_mean": speed / 3,
        "motion_sustained": speed,
        "source_width": pa.array([640] * count, pa.int32()),
        "source_height": pa.array([360] * count, pa.int32()),
        "loss": speed * 0.1,
        "gradient_norm": speed + 1,
        "extra": [json.dumps({"tag": f"tag-{n}"}) for n in range(count)],
    }
    table = pa.table(rows)
    asked = [
        row | {"id": f"q{n}", "name": f"query_{n}.mp4", "key": f"{'f' * 60}{n:04}"}
        for n, row in enumerate(table.slice(0, queries).to_pylist())
    ]
    facts = Facts(asked, 0.044, True, "")
    with new_file(config.out / "scores.parquet") as aside:
        write_scores(aside, facts, table.schema, [(table, influence.T)])

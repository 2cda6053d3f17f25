"""One selection over several runs is the selection of one run over all of their clips."""

import csv
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from motive import verbs
from motive.attribution.scores import load_scores
from motive.cli import app
from motive.config import Config, load_config
from motive.errors import ConfigError, StoreError
from motive.files import read_jsonl
from motive.union import select_union
from tests.conftest import settings


def manifest(file: Path, clips: list[Path]) -> Path:
    with file.open("w", encoding="utf-8", newline="") as text:
        writer = csv.writer(text)
        writer.writerow(["path", "caption"])
        writer.writerows([clip, clip.stem] for clip in clips)
    return file


@pytest.fixture(scope="module")
def scored(pool_folder, query_folder, tiny_wan, tmp_path_factory):
    """Gives a scored run of some of the pool's clips, by their numbers in order of name."""
    folder = tmp_path_factory.mktemp("union")
    clips = sorted(pool_folder.glob("*.mp4"))
    made: dict[str, Config] = {}

    def run(name: str, numbers: range, *more: str) -> Config:
        if name not in made:
            pool = manifest(folder / f"{name}.csv", [clips[n] for n in numbers])
            own = settings(pool, query_folder, tiny_wan, folder / name, "engine.decoders=0", "gradients.dim=64", *more)
            made[name] = load_config(None, [f"root={pool_folder.parent}", *own])
            verbs.index(made[name])
            verbs.score(made[name])
        return made[name]

    return run


@pytest.fixture
def parts(scored) -> list[Config]:
    """The pool's six clips in three runs."""
    return [scored(f"part-{n}", range(first, last)) for n, (first, last) in enumerate([(0, 1), (1, 4), (4, 6)])]


def test_a_union_chooses_what_one_run_over_all_clips_chooses(scored, parts, tmp_path) -> None:
    whole = scored("whole", range(6))
    expected = verbs.select(whole)
    for name, order in {"one": parts, "other": parts[::-1]}.items():
        selection, text = select_union(order, tmp_path / name)
        assert np.array_equal(selection.cuts, expected.cuts)
        for file in ("selection.jsonl", "harmful.jsonl"):
            assert read_jsonl(tmp_path / name / file) == read_jsonl(whole.out / file)
        assert pq.read_table(tmp_path / name / "ranking.parquet").equals(pq.read_table(whole.out / "ranking.parquet"))
        assert (tmp_path / name / "selection.md").read_bytes() == (whole.out / "selection.md").read_bytes()
        assert text.startswith("Kept 2 of 6 clips")
    told = json.loads((tmp_path / "one" / "union.json").read_text())
    assert (told["keep"], told["clips"]) == (0.34, 6)
    assert [run["state"] for run in told["runs"]] == [load_scores(run.out / "scores.parquet").facts.state for run in parts]


def test_the_command_exports_for_trainers(parts, tmp_path) -> None:
    verbs.select(parts[1])
    folders = [str(run.out) for run in parts]
    done = CliRunner().invoke(app, ["union", str(tmp_path / "union"), *folders, "--keep", "0.5", "--export", "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout) == {"folder": str(tmp_path / "union"), "kept": 3, "clips": 6, "failed": []}
    assert len(read_jsonl(tmp_path / "union" / "selection.jsonl")) == 3
    assert any((tmp_path / "union" / "export").rglob("*.mp4"))
    assert not (parts[0].out / "export").exists()


def test_runs_that_do_not_belong_together_are_refused(scored, parts, tmp_path) -> None:
    out = tmp_path / "union"
    other = scored("other-settings", range(1, 4), "gradients.draws=2")
    with pytest.raises(StoreError, match=r"(?s)attributed with other settings.*draws: stored None, now 2"):
        select_union([parts[0], other], out)
    with pytest.raises(StoreError, match=r"is in more than one of the runs"):
        select_union([parts[1], scored("whole", range(6))], out)
    with pytest.raises(ConfigError, match="two runs or more"):
        select_union(parts[:1], out)
    with pytest.raises(ConfigError, match="each named once"):
        select_union([parts[0], parts[0]], out)
    with pytest.raises(ConfigError, match="is one of the runs"):
        select_union(parts, parts[1].out)
    with pytest.raises(ConfigError, match=r"0\.0 is no share"):
        select_union(parts, out, keep=0.0)
    with pytest.raises(ConfigError, match=r"different shares, 0\.2, 0\.34"):
        select_union([parts[0], load_config(parts[1].out, ["selection.keep=0.2"])], out)
    with pytest.raises(ConfigError, match="own pool"):
        select_union([parts[0], load_config(parts[1].out, ["influence.hessian=kernel"])], out)
    assert not out.exists()


def test_other_queries_and_clips_that_changed_since_are_refused(scored, parts, pool_folder, tmp_path) -> None:
    queries = manifest(tmp_path / "queries.csv", sorted(pool_folder.glob("*.mp4"))[:1])
    stranger = scored("other-queries", range(1, 4), f"queries={queries}")
    with pytest.raises(StoreError, match="scored against other queries"):
        select_union([parts[0], stranger], tmp_path / "union")
    verbs.index(load_config(stranger.out, [f"pool={manifest(tmp_path / 'pool.csv', sorted(pool_folder.glob('*.mp4'))[1:3])}"]))
    with pytest.raises(StoreError, match=r"changed since they were scored; run `motive score` again"):
        select_union([parts[0], stranger], tmp_path / "union")


def test_scores_of_another_version_are_refused(scored, parts, tmp_path) -> None:
    older = scored("older", range(1, 4))
    file = older.out / "scores.parquet"
    table = pq.read_table(file)
    fields = [field.with_nullable(True) for field in table.schema]
    pq.write_table(table.cast(pa.schema(fields, metadata=table.schema.metadata)), file)
    with pytest.raises(StoreError, match=r"different versions; run `motive score` in both again"):
        select_union([parts[0], older], tmp_path / "union")

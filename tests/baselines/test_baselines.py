import json

import numpy as np
import pytest

from motive import verbs
from motive.attribution.scores import load_scores
from motive.attribution.selection import select
from motive.baselines.choice import by_score, by_vote, open_run
from motive.baselines.diverse import different
from motive.baselines.likeness import cosines
from motive.baselines.make import export_baseline, is_made, make_baseline
from motive.baselines.registry import BASELINES
from motive.cli import main
from motive.config import dump_config, load_config
from motive.errors import ConfigError, StoreError
from motive.files import read_jsonl
from motive.progress import Silent

WITHOUT_WEIGHTS = [name for name in BASELINES if name != "embedding"]


def kept(folder) -> list[str]:
    return [entry["name"] for entry in read_jsonl(folder / "selection.jsonl")]


@pytest.mark.parametrize("name", WITHOUT_WEIGHTS)
def test_every_baseline_writes_a_selection_that_exports(config, name) -> None:
    folder = make_baseline(config, name)
    assert folder == config.out / "baselines" / name
    entries, own = read_jsonl(folder / "selection.jsonl"), read_jsonl(config.out / "selection.jsonl")
    beside = {"votes", "mean_influence", "influence", "score"}
    assert own[0].keys() - beside == entries[0].keys() - beside
    assert [entry["rank"] for entry in entries] == list(range(1, len(entries) + 1))
    scores = [(entry.get("votes", 0), entry["score"]) for entry in entries]
    assert scores == sorted(scores, reverse=True)
    about = json.loads((folder / "baseline.json").read_text())
    assert (about["name"], about["clips"], about["of"], about["seed"]) == (name, len(entries), 6, config.seed)
    assert len(entries) == (6 if name == "full" else 2)
    assert export_baseline(config, name) == []
    videos = {path.name for path in (folder / "export" / "videos").glob("*.mp4")}
    assert len(videos) == len(entries)
    assert (folder / "export" / "metadata.csv").exists()


def test_a_random_subset_follows_from_the_seed_and_the_ids_alone(config) -> None:
    drawn = {seed: kept(make_baseline(config.model_copy(update={"seed": seed}), "random")) for seed in range(8)}
    assert kept(make_baseline(config.model_copy(update={"seed": 3}), "random")) == drawn[3]
    assert len({tuple(names) for names in drawn.values()}) > 4


def test_magnitude_keeps_what_moves_most(config) -> None:
    clips = load_scores(config.out / "scores.parquet").clips
    fastest = sorted(zip(clips["motion_mean"].to_pylist(), clips["name"].to_pylist(), strict=True), reverse=True)
    assert kept(make_baseline(config, "magnitude")) == [name for _, name in fastest[:2]]
    assert "clip5.mp4" not in kept(make_baseline(config, "magnitude")), "a still"


def test_without_mask_is_the_run_with_uniform_weights(config, tmp_path) -> None:
    """Nothing but `gradients.weighting` differs, and prepared inputs are shared."""
    folder = make_baseline(config, "nomask")
    plain = load_config(config.out, [f"out={tmp_path / 'plain'}", "gradients.weighting=uniform"])
    verbs.index(plain)
    verbs.score(plain)
    verbs.select(plain)
    assert kept(folder) == kept(plain.out)
    own, same = (load_scores(out / "scores.parquet").influence for out in (config.out / "nomask", plain.out))
    assert (own == same).all()
    assert (own != load_scores(config.out / "scores.parquet").influence).any()
    assert not (config.out / "nomask" / "prepared").exists()


def test_the_vote_is_motives_own(config) -> None:
    """On Motive's own scores a vote keeps what Motive keeps, in the same order with the same votes."""
    run = open_run(config, Silent())
    chosen, own = by_vote(run, run.scores.influence), select(run.scores, run.keep)
    assert (chosen.kept == own.kept).all()
    assert (chosen.votes == own.votes[own.kept]).all()
    assert (chosen.score == own.mean[own.kept]).all()


def test_equal_scores_are_ordered_by_id(config) -> None:
    run = open_run(config, Silent())
    ids = run.scores.clips["id"].to_pylist()
    assert [ids[place] for place in by_score(run, np.ones(6)).kept] == sorted(ids)[:2]


def test_a_copy_of_a_query_is_nearest_to_it_by_latents(query_folder, tiny_wan, tmp_path) -> None:
    """Queries that are also the pool: each clip's own vector has a cosine of 1 with itself."""
    from tests.conftest import settings

    out = tmp_path / "out"
    tree = [*settings(query_folder, query_folder, tiny_wan, out), "engine.decoders=0", "selection.keep=0.6"]
    own = load_config(None, tree)
    verbs.index(own)
    verbs.score(own)
    run = open_run(own, Silent())
    from motive.baselines.latents import pooled_latents

    pool, queries = pooled_latents(run, run.pool(), run.queries())
    similar = cosines(pool, queries)
    place = [[clip.key for clip in run.pool()].index(query.key) for query in run.queries()]
    assert similar[place, range(2)] == pytest.approx(1)
    assert len(read_jsonl(make_baseline(own, "latents") / "selection.jsonl")) == 1


def test_near_duplicates_of_better_clips_are_skipped() -> None:
    vectors = np.array([[1, 0], [1, 0.05], [0, 1], [-1, 0], [0.02, 1]], np.float32)
    order = np.array([1, 0, 4, 2, 3])
    assert [part.tolist() if n == 0 else part for n, part in enumerate(different(vectors, order, 0.9, 3))] == [[1, 4, 3], 2]
    assert different(vectors, order, 0.99999, 3)[0].tolist() == [1, 0, 4]
    assert different(vectors, order, 0.9, 5)[0].tolist() == [1, 4, 3], "fewer, where no more differ"


@pytest.mark.parametrize("by", ["features", "latents"])
def test_a_diverse_selection_is_motives_where_nothing_is_alike(config, by) -> None:
    strict = config.model_copy(update={"baselines": config.baselines.model_copy(update={"alike_by": by, "alike": 0.999999})})
    assert kept(make_baseline(strict, "diverse")) == kept(config.out)


def test_a_run_that_is_not_scored_is_refused(config) -> None:
    (config.out / "scores.parquet").unlink()
    with pytest.raises(StoreError, match="motive score"):
        make_baseline(config, "random")


def test_latents_say_which_clip_lacks_its_inputs(config) -> None:
    for file in (config.out / "prepared" / "clips").glob("*.safetensors"):
        file.unlink()
    with pytest.raises(StoreError, match=r"clip\d.mp4: has no latents"):
        make_baseline(config, "latents")


def slowest(run):
    """A baseline of one's own."""
    return by_score(run, -run.scores.clips["motion_mean"].to_numpy(), "the slowest")


def test_a_baseline_of_ones_own(config) -> None:
    own = config.baselines.model_copy(update={"own": {"slow": f"{__name__}:slowest", "motive": f"{__name__}:slowest"}})
    mine = config.model_copy(update={"baselines": own})
    folder = make_baseline(mine, "slow")
    assert "clip5.mp4" in kept(folder)
    assert json.loads((folder / "baseline.json").read_text())["notes"] == ["the slowest"]
    with pytest.raises(ConfigError, match="no name for a baseline"):
        make_baseline(mine, "motive")
    with pytest.raises(ConfigError, match=r"there are full, random, .*slow"):
        make_baseline(mine, "fast")
    own = config.baselines.model_copy(update={"own": {"random": f"{__name__}:slowest"}})
    with pytest.raises(ConfigError, match="the name of a baseline that there is"):
        make_baseline(config.model_copy(update={"baselines": own}), "random")


def test_a_baseline_of_another_pool_or_of_other_settings_is_not_taken_for_this_ones(config) -> None:
    assert not is_made(config, "random")
    file = make_baseline(config, "random") / "baseline.json"
    assert is_made(config, "random")
    assert not is_made(config.model_copy(update={"seed": 5}), "random")
    assert not is_made(config.model_copy(update={"selection": config.selection.model_copy(update={"keep": 0.5})}), "random")
    about = json.loads(file.read_text())
    for text in (json.dumps(about | {"state": "another"}), "[]", "{"):
        file.write_text(text)
        assert not is_made(config, "random")


def test_an_export_of_a_baseline_that_there_is_not_yet(config) -> None:
    with pytest.raises(StoreError, match="motive baseline"):
        export_baseline(config, "random")


def test_the_command_makes_several_and_exports_them(config, capsys, monkeypatch) -> None:
    (config.out / "motive.yaml").write_text(dump_config(config))
    monkeypatch.setattr("sys.argv", ["motive", "baseline", str(config.out), "random", "magnitude", "--export", "--json"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    told = json.loads(capsys.readouterr().out)
    assert {name: facts["failed"] for name, facts in told.items()} == {"random": [], "magnitude": []}
    assert (config.out / "baselines" / "random" / "export" / "metadata.csv").exists()

import contextlib
import os
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from motive.config import Config, dump_config, load_config
from motive.errors import ConfigError
from motive.fingerprints import differences
from motive.presets import PRESETS
from motive.sigmas import spread_sigmas

MINIMAL = "out: run\npool: clips\nqueries: wanted\nmodel:\n  path: some/model\n"


def write(folder: Path, text: str) -> Path:
    file = folder / "motive.yaml"
    file.write_text(text)
    return file


def test_the_defaults_are_the_papers(tmp_path) -> None:
    config = load_config(write(tmp_path, MINIMAL))
    assert (config.video.frames, config.video.fps, config.video.height, config.video.width) == (81, 16.0, 480, 832)
    assert config.gradients.sigmas == (0.75075,)
    assert (config.gradients.projector, config.gradients.dim, config.gradients.weighting) == ("fastfood", 512, "motion")
    assert config.selection.keep == 0.1
    assert config.motion.quantiles is None
    assert config.motion.camera == "keep"


def test_paths_are_relative_to_their_file_and_settings_to_the_current_folder(tmp_path, monkeypatch) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "some" / "model").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    config = load_config(write(tmp_path, MINIMAL), ["queries=mine"])
    assert config.pool == tmp_path / "clips"
    assert config.queries == tmp_path / "here" / "mine"
    assert config.model.path == str(tmp_path / "some" / "model")


def test_a_hub_id_is_not_taken_for_a_path(tmp_path) -> None:
    assert load_config(write(tmp_path, MINIMAL), ["model.path=Wan-AI/Wan2.1"]).model.path == "Wan-AI/Wan2.1"


def test_settings_override_the_file_and_make_sections(tmp_path) -> None:
    config = load_config(write(tmp_path, MINIMAL), ["gradients.sigmas=[0.3, 0.9]", "video.place=centre", "seed=4"])
    assert config.gradients.sigmas == (0.3, 0.9)
    assert config.video.place == "centre"
    assert config.seed == 4


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("gradient.dim=3", "gradient: no such setting; did you mean gradients?"),
        ("gradients.dims=3", "gradients.dims: no such setting; did you mean dim?"),
        ("video.zzzz=3", "video.zzzz: no such setting; known here: frames, fps"),
        ("gradients.dim=many", "gradients.dim: .*valid integer.*'many'"),
        ("gradients.dim=0", "gradients.dim: .*greater than or equal to 1"),
        ("gradients.sigmas=[]", "gradients.sigmas"),
        ("gradients.sigmas=[1.5]", "gradients.sigmas.0: .*less than 1"),
        ("video.fps=.nan", "video.fps: .*finite"),
        ("selection.keep=1", "selection.keep: .*less than 1"),
        ("motion.quantiles=[0.9, 0.1]", "motion: quantiles must be two rising numbers"),
        ("model=3", "model: "),
        ("model.path.x=3", "path is a value, not a section"),
        ("nonsense", "write it as section.key=value"),
        ("seed={a", "not readable as YAML"),
    ],
)
def test_a_wrong_setting_is_named_with_what_to_do(tmp_path, setting, words) -> None:
    with pytest.raises(ConfigError, match=words):
        load_config(write(tmp_path, MINIMAL), [setting])


def test_everything_wrong_is_said_at_once(tmp_path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(write(tmp_path, "video: {frame: 3}\nseed: -1\n"))
    for words in ("video.frame", "seed", "out: missing", "pool: missing", "queries: missing", "model: missing"):
        assert words in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: &x [1]\nb: *x\n", "aliases"),
        ("seed: 1\nseed: 2\n", "twice"),
        ("- a\n- b\n", "expected settings"),
        ("seed: [1\n", "not readable as YAML"),
        ("out: !!python/object/apply:os.system ['true']\n", "not readable as YAML"),
        ("[" * 50_000, "nested too deeply"),
        ("a: 2024-99-99\n", "a value in it makes no sense: month"),
        (f"a: {'1' * 5000}\n", "a value in it makes no sense"),
        ("!!map x: 1\n", "a value in it makes no sense"),
        ("? [a]\n: b\n", "stands for a key"),
        ("? {a: b}\n: b\n", "stands for a key"),
        ("#" * 200_000, "more than 131,072 characters"),
        (f"seed: 0x{'f' * 5000}\n", r"seed: .*less than.*beyond writing down"),
        (f"seed: {'x' * 5000}\n", r"seed: .*xxx\.\.\."),
        ('out: "a\\0b"\n', "no path: it holds a NUL"),
        ('pool: "\\ud800"\n', "is no path"),
        ("out: ~nobody-at-all/x\n", "is no path"),
        ("\n".join(f"k{n}: v" for n in range(9000)), r"no such setting[\s\S]*and \d,?\d+ more"),
        ("columns:\n" + "".join(f" k{n}: v\n" for n in range(9000)), "and .* more"),
    ],
)
def test_hostile_and_broken_yaml_is_refused(tmp_path, text, words) -> None:
    with pytest.raises(ConfigError, match=words):
        load_config(write(tmp_path, text))


@pytest.mark.parametrize("value", ["[" * 5000, "2024-99-99", "1" * 5000, "&a [1]", "*a", "? {a: b}", "!!map x", "{a: 1, a: 2}"])
def test_a_hostile_setting_is_refused(tmp_path, value) -> None:
    with pytest.raises(ConfigError, match=r"not readable as YAML|valid integer"):
        load_config(write(tmp_path, MINIMAL), [f"seed={value}"])


def test_what_is_no_regular_file_is_no_configuration(tmp_path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    with pytest.raises(ConfigError, match="no such file"):
        load_config(tmp_path / "pipe.yaml")


def test_pool_queries_and_root_may_be_addresses_and_are_left_as_they_are(tmp_path) -> None:
    more = "root: https://example.org/a\n"
    text = MINIMAL.replace("pool: clips", "pool: s3://bucket/clips/{0..9}.tar") + more
    config = load_config(write(tmp_path, text), ["queries=hf://datasets/a/b?split=test"])
    assert (config.pool, config.queries) == ("s3://bucket/clips/{0..9}.tar", "hf://datasets/a/b?split=test")
    assert config.root == "https://example.org/a"
    assert load_config(write(tmp_path, dump_config(config))) == config
    assert load_config(write(tmp_path, MINIMAL), ["pool=shards/{0..9}.tar"]).pool == Path.cwd() / "shards/{0..9}.tar"


def test_a_missing_file_is_named(tmp_path) -> None:
    with pytest.raises(ConfigError, match=r"motive\.yaml: no such file"):
        load_config(tmp_path / "motive.yaml")


def test_a_resolved_configuration_can_be_run_again(tmp_path) -> None:
    config = load_config(write(tmp_path, MINIMAL), ["motion.quantiles=[0.01, 0.99]", "columns={video: file}"])
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "motive.yaml").write_text(dump_config(config))
    assert load_config(tmp_path / "run") == config


@hypothesis_settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=200))
def test_any_text_is_read_or_refused_in_words(tmp_path, text) -> None:
    file = tmp_path / "any.yaml"
    file.write_text(text, encoding="utf-8", errors="replace")
    try:
        assert isinstance(load_config(file), Config)
    except ConfigError as error:
        assert "any.yaml" in str(error)


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.dates() | st.binary(max_size=8)
NAMES = st.sampled_from(sorted(Config.model_fields)) | st.text(max_size=5)
BELOW = st.sampled_from(
    sorted(name for f in Config.model_fields.values() for name in getattr(f.annotation, "model_fields", ()))
)
TREES = st.dictionaries(
    NAMES,
    SCALARS
    | st.lists(SCALARS, max_size=3)
    | st.dictionaries(BELOW | st.text(max_size=4), SCALARS | st.lists(SCALARS, max_size=2)),
)


@hypothesis_settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tree=TREES, whole=st.booleans(), style=st.sampled_from([None, True, False]))
def test_any_tree_is_a_configuration_that_can_be_written_down_or_is_refused_in_words(tmp_path, tree, whole, style) -> None:
    file = tmp_path / "any.yaml"
    tree = (yaml.safe_load(MINIMAL) if whole else {}) | tree
    file.write_text(yaml.safe_dump(tree, default_flow_style=style), encoding="utf-8", errors="replace")
    try:
        config = load_config(file)
    except ConfigError as error:
        assert "any.yaml" in str(error) or "is no path" in str(error)
    else:
        (tmp_path / "motive.yaml").write_bytes(dump_config(config).encode())
        assert load_config(tmp_path) == config


@hypothesis_settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text(max_size=30) | st.builds("{}.{}={}".format, NAMES, BELOW, st.text(max_size=15)), max_size=3))
def test_any_settings_are_taken_or_refused_in_words(tmp_path, settings) -> None:
    with contextlib.suppress(ConfigError):
        assert isinstance(load_config(write(tmp_path, MINIMAL), settings), Config)


values = st.recursive(
    st.none() | st.integers() | st.text(max_size=5), lambda below: st.dictionaries(st.text(max_size=3), below)
)


@given(st.dictionaries(st.text(max_size=3), values))
def test_a_tree_does_not_differ_from_itself(tree) -> None:
    assert differences(tree, yaml.safe_load(yaml.safe_dump(tree))) == []


def test_every_difference_is_listed_once() -> None:
    stored = {"a": {"b": 1, "c": 2}, "d": 3}
    assert differences(stored, {"a": {"b": 1, "c": 5}, "e": 4}) == [
        "a.c: stored 2, now 5",
        "d: stored 3, now None",
        "e: stored None, now 4",
    ]


def test_every_setting_is_documented() -> None:
    def undocumented(section: type, prefix: str = "") -> list[str]:
        names = []
        for name, field in section.model_fields.items():
            kind = field.annotation
            if isinstance(kind, type) and hasattr(kind, "model_fields"):
                names += undocumented(kind, f"{prefix}{name}.")
            elif not field.description:
                names.append(prefix + name)
        return names

    assert undocumented(Config) == []


def test_the_paper_preset_has_the_papers_constants(tmp_path) -> None:
    config = load_config(write(tmp_path, MINIMAL + "preset: paper\n"))
    gradients = config.gradients
    assert gradients.sigmas == (0.75075,)
    assert (gradients.draws, gradients.error, gradients.weighting) == (1, "whole", "motion")
    assert (gradients.projector, gradients.dim) == ("fastfood", 512)
    assert (config.motion.floor, config.motion.quantiles, config.motion.camera) == (0, None, "keep")
    assert config.influence.hessian == "identity"
    assert config.selection.keep == 0.1
    video = config.video
    assert (video.frames, video.fps, video.height, video.width) == (81, 16.0, 480, 832)


def test_the_defaults_are_the_papers_but_for_the_floor_and_hard_cuts(tmp_path) -> None:
    plain, paper = load_config(write(tmp_path, MINIMAL)), load_config(write(tmp_path, MINIMAL + "preset: paper\n"))
    changes = differences(plain.model_dump(mode="json"), paper.model_dump(mode="json"))
    assert changes == [
        "gradients.draws: stored None, now 1",
        "motion.cuts: stored 'bridge', now 'keep'",
        "motion.floor: stored 0.25, now 0.0",
    ]


def test_the_best_preset_averages_directions_over_the_schedule_through_a_kernel(tmp_path) -> None:
    config = load_config(write(tmp_path, MINIMAL + "preset: best\n"))
    gradients = config.gradients
    assert gradients.draws == len(gradients.sigmas)
    assert gradients.sigmas == spread_sigmas(len(gradients.sigmas))
    assert gradients.average == "directions"
    assert (gradients.weighting, gradients.error, gradients.parameters) == ("queries", "temporal", ("*.attn1.*",))
    assert config.influence.hessian == "kernel"
    assert config.motion.floor == 0.25


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_is_the_same_in_a_file_and_among_the_settings(tmp_path, preset) -> None:
    in_file = load_config(write(tmp_path, MINIMAL + f"preset: {preset}\n"))
    assert load_config(write(tmp_path, MINIMAL), [f"preset={preset}"]) == in_file
    other = next(name for name in PRESETS if name != preset)
    assert load_config(write(tmp_path, MINIMAL + f"preset: {other}\n"), [f"preset={preset}"]) == in_file
    assert load_config(write(tmp_path, MINIMAL)) != in_file


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("place", ["file", "settings"])
def test_what_is_set_beside_a_preset_wins_and_leaves_the_rest_of_its_section(tmp_path, preset, place) -> None:
    alone = load_config(write(tmp_path, MINIMAL), [f"preset={preset}"])
    if place == "file":
        own = "gradients:\n  dim: 64\n  sigmas: [0.3]\ninfluence: {hessian: identity}\nmotion: {tracker: farneback}\n"
        config = load_config(write(tmp_path, MINIMAL + own + f"preset: {preset}\n"))
    else:
        own = ["gradients.dim=64", "gradients.sigmas=[0.3]", "influence.hessian=identity", "motion.tracker=farneback"]
        config = load_config(write(tmp_path, MINIMAL), [*own, f"preset={preset}"])
    assert (config.gradients.dim, config.gradients.sigmas) == (64, (0.3,))
    assert (config.influence.hessian, config.motion.tracker) == ("identity", "farneback")
    assert config.gradients == alone.gradients.model_copy(update={"dim": 64, "sigmas": (0.3,)})
    assert config.motion == alone.motion.model_copy(update={"tracker": "farneback"})


def test_a_preset_is_never_changed_by_what_is_set_beside_it(tmp_path) -> None:
    before = load_config(write(tmp_path, MINIMAL), ["preset=best"])
    load_config(write(tmp_path, MINIMAL), ["preset=best", "gradients.dim=64", "gradients.sigmas=[0.3]"])
    assert load_config(write(tmp_path, MINIMAL), ["preset=best"]) == before


@pytest.mark.parametrize("wrong", ["papre", "3", "[best]", "{best: 1}", "", "Best"])
def test_an_unknown_preset_is_refused_with_the_names_there_are(tmp_path, wrong) -> None:
    for text, settings in ((f"preset: {wrong}\n", []), ("", [f"preset={wrong}"])):
        with pytest.raises(ConfigError, match="preset: there are paper, best"):
            load_config(write(tmp_path, MINIMAL + text), settings)


def test_what_is_wrong_beside_a_preset_is_named_as_ever(tmp_path) -> None:
    with pytest.raises(ConfigError, match=r"gradients\.dims: no such setting; did you mean dim\?"):
        load_config(write(tmp_path, MINIMAL), ["preset=best", "gradients.dims=3"])
    with pytest.raises(ConfigError, match="gradients: "):
        load_config(write(tmp_path, MINIMAL), ["preset=best", "gradients=3"])


@pytest.mark.parametrize("preset", PRESETS)
def test_a_resolved_configuration_says_what_a_preset_meant_and_not_its_name(tmp_path, preset) -> None:
    config = load_config(write(tmp_path, MINIMAL), [f"preset={preset}", "gradients.dim=77"])
    dumped = dump_config(config)
    assert "preset" not in yaml.safe_load(dumped)
    assert yaml.safe_load(dumped)["gradients"]["dim"] == 77
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "motive.yaml").write_text(dumped)
    assert load_config(tmp_path / "run") == config

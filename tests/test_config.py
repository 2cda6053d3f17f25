from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from motive.config import Config, differences, dump_config, load_config
from motive.errors import ConfigError

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
    ],
)
def test_hostile_and_broken_yaml_is_refused(tmp_path, text, words) -> None:
    with pytest.raises(ConfigError, match=words):
        load_config(write(tmp_path, text))


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

"""The command as people run it: a real process, or the same entry point in this one."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from motive.cli import main
from motive.files import sha256_file
from motive.video.table import ClipTable
from motive.video.write import write_video
from tests.conftest import moving_square, settings

BAD = ("cut.mp4", "empty.mp4", "text.mp4", "one.mp4", "gone.mp4")


def call(capsys, *words: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of `motive words...`."""
    argv, sys.argv = sys.argv, ["motive", *words]
    try:
        with pytest.raises(SystemExit) as stop:
            main()
    finally:
        sys.argv = argv
    out, err = capsys.readouterr()
    return int(stop.value.code or 0), out, err


def sets(*overrides: str) -> list[str]:
    return [word for override in overrides for word in ("--set", override)]


@pytest.fixture(scope="session")
def done(pool_folder, query_folder, tiny_wan, tmp_path_factory) -> Path:
    """A finished run with five unusable clips in its pool."""
    folder = tmp_path_factory.mktemp("cli")
    whole = (pool_folder / "clip0.mp4").read_bytes()
    pool = folder / "pool"
    pool.mkdir()
    (pool / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    (pool / "empty.mp4").write_bytes(b"")
    (pool / "text.mp4").write_text("a text file\n" * 100)
    write_video(pool / "one.mp4", moving_square(1), 16)
    names = [path.name for path in pool_folder.glob("*.mp4")]
    for name in names:
        (pool / name).write_bytes((pool_folder / name).read_bytes())
    rows = "".join(f"{name},a square,tag-{n}\n" for n, name in enumerate([*names, *BAD]))
    (pool / "metadata.csv").write_text("video,prompt,tag\n" + rows)
    out = folder / "run"
    process = subprocess.run(
        [sys.executable, "-m", "motive", "run", *sets(*settings(pool / "metadata.csv", query_folder, tiny_wan, out))],
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr
    (folder / "printed.txt").write_text(process.stdout)
    (folder / "progress.txt").write_text(process.stderr)
    return out


def test_a_run_reports_every_unusable_clip_and_scores_the_rest(done) -> None:
    printed = (done.parent / "printed.txt").read_text()
    assert "6 clips and 2 queries attributed" in printed
    assert "5 failed:" in printed
    for name in BAD:
        assert f"  {name}: " in printed
    assert "UNTRAINED" in printed
    assert "Kept 2 of 6 clips" in printed
    assert len(ClipTable.read(done / "export" / "metadata.csv")) == 2


def test_progress_is_plain_lines_where_there_is_no_terminal_and_says_what_is_to_come(done) -> None:
    progress = (done.parent / "progress.txt").read_text()
    assert "\x1b" not in progress
    assert "to attribute: 13 clips" in progress
    assert "takes about" in progress
    assert "attributing clips: 13/13" in progress


def test_show_ranks_and_lists_what_was_not_scored(done, capsys, tmp_path) -> None:
    sheet = tmp_path / "sheet.png"
    code, out, _ = call(capsys, "show", str(done), "--sheet", str(sheet))
    assert code == 0
    assert out.count("not scored:") == 5
    assert sheet.read_bytes().startswith(b"\x89PNG")
    whole = sheet.read_bytes()
    code, out, _ = call(capsys, "show", str(done), "--sheet", str(sheet), "--query", "query1")
    assert code == 0
    assert sheet.read_bytes().startswith(b"\x89PNG")
    assert sheet.read_bytes() != whole
    code, out, err = call(capsys, "show", str(done), "--sheet", str(sheet), "--query", "nothing")
    assert code == 1
    assert "no query 'nothing'; there are" in err
    code, out, err = call(capsys, "show", str(done), "--json")
    shown = json.loads(out)
    assert err == ""
    assert [entry["rank"] for entry in shown["kept"]] == [1, 2]
    assert shown["kept"][0]["extra"]["tag"].startswith("tag-")
    assert len(shown["not_scored"]) == 5
    assert shown["trained"] is False


def test_each_verb_does_its_stage_from_the_runs_folder(done, capsys) -> None:
    for verb, key in (("index", "pool"), ("score", "error_bar"), ("select", "kept"), ("export", "folder")):
        code, out, _ = call(capsys, verb, str(done), "--json")
        assert code == 0
        assert key in json.loads(out)


def test_selecting_again_with_another_share_needs_nothing_else(done, capsys) -> None:
    _, out, _ = call(capsys, "select", str(done), "--set", "selection.keep=0.5", "--json")
    assert len(json.loads(out)["kept"]) == 3
    _, out, _ = call(capsys, "select", str(done), "--json")
    assert len(json.loads(out)["kept"]) == 2


def test_other_settings_on_the_same_folder_are_refused_with_the_difference(done, capsys) -> None:
    code, _, err = call(capsys, "index", str(done), "--set", "gradients.sigmas=[0.5]")
    assert code == 1
    assert "gradients.sigmas: stored [0.75075], now [0.5]" in err
    assert "Traceback" not in err
    code, _, err = call(capsys, "index", str(done), "--set", "video.fps=8")
    assert code == 1
    assert "video.fps: stored 16.0, now 8.0" in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["index", "--set", "gradient.dim=3"], "did you mean gradients?"),
        (["index", "missing.yaml"], "no such file"),
        (["show", "."], "motive.yaml: no such file"),
        (["index", "--pool", "nowhere", "--queries", "q", "--model", "m", "--out", "o"], "no such file or folder"),
        (["build-model", "."], "not empty"),
    ],
)
def test_a_users_error_is_one_line_and_exit_code_1(capsys, words, said) -> None:
    code, out, err = call(capsys, *words)
    assert code == 1
    assert said in err
    assert "Traceback" not in err
    assert out == ""


def test_a_wrong_option_is_exit_code_2(capsys) -> None:
    code, _, err = call(capsys, "index", "--nonsense")
    assert code == 2
    assert "--nonsense" in err


def test_stages_out_of_order_say_which_comes_first(pool_folder, query_folder, tiny_wan, tmp_path, capsys) -> None:
    overrides = sets(*settings(pool_folder, query_folder, tiny_wan, tmp_path / "run"))
    for verb, first in (("score", "motive index"), ("select", "motive score"), ("export", "motive index")):
        code, _, err = call(capsys, verb, *overrides)
        assert code == 1
        assert first in err


def test_failed_clips_can_be_tried_again(pool_folder, query_folder, tiny_wan, tmp_path, capsys) -> None:
    pool = tmp_path / "pool"
    pool.mkdir()
    for path in pool_folder.glob("*.mp4"):
        (pool / path.name).write_bytes(path.read_bytes())
    (pool / "metadata.csv").write_text(
        "id,video,prompt\n" + "".join(f"{n},clip{n}.mp4,a square\n" for n in range(6)) + "6,late.mp4,a square\n"
    )
    overrides = sets(*settings(pool / "metadata.csv", query_folder, tiny_wan, tmp_path / "run"))
    _, out, _ = call(capsys, "index", *overrides, "--json")
    assert json.loads(out)["failed"] == ["late.mp4: no such file: 'late.mp4' in " + str(pool)]
    write_video(pool / "late.mp4", moving_square(13, seed=50), 16)
    _, out, _ = call(capsys, "index", *overrides, "--retry-failed", "--json")
    assert (json.loads(out)["pool"], json.loads(out)["failed"]) == (7, [])


def test_preparing_first_leaves_only_the_gradients_to_index(
    pool_folder, query_folder, tiny_wan, tmp_path, capsys, monkeypatch
) -> None:
    overrides = sets(*settings(pool_folder, query_folder, tiny_wan, tmp_path / "run"))
    code, out, _ = call(capsys, "prepare", *overrides, "--json")
    assert (code, json.loads(out)["failed"]) == (0, [])
    assert len(list((tmp_path / "run" / "prepared" / "clips").iterdir())) == 8
    assert not [*(tmp_path / "run").rglob("rows/*"), *(tmp_path / "run").rglob("shards/*")]
    monkeypatch.setattr("motive.attribution.ahead.as_they_come", None)
    code, out, _ = call(capsys, "index", *overrides, "--json")
    assert (code, json.loads(out)["pool"]) == (0, 6)


def test_one_bad_row_does_not_lose_a_good_clip_with_the_same_content(
    pool_folder, query_folder, tiny_wan, tmp_path, capsys
) -> None:
    rows = "id,video,prompt\ny,clip1.mp4,b\nx,clip0.mp4,a\nx,clip1.mp4,b\n"
    manifest = pool_folder / "conflict.csv"
    manifest.write_text(rows)
    overrides = sets(*settings(manifest, query_folder, tiny_wan, tmp_path / "run"))
    _, out, _ = call(capsys, "index", *overrides, "--json")
    done = json.loads(out)
    assert done["pool"] == 2
    assert len(done["failed"]) == 1
    assert "already that of" in done["failed"][0]
    manifest.write_text(rows.replace("x,clip1", "z,clip1"))
    _, out, _ = call(capsys, "index", *overrides, "--json")
    assert (json.loads(out)["pool"], json.loads(out)["failed"]) == (3, [])
    manifest.unlink()


def test_a_wrong_checksum_fails_until_it_is_corrected(pool_folder, query_folder, tiny_wan, tmp_path, capsys) -> None:
    manifest = pool_folder / "checked.csv"
    right = sha256_file(pool_folder / "clip0.mp4")
    for checksum, usable in (("0" * 64, 1), (right, 2)):
        manifest.write_text(f"id,video,prompt,sha256\na,clip0.mp4,b,{checksum}\nb,clip1.mp4,b,\n")
        overrides = sets(*settings(manifest, query_folder, tiny_wan, tmp_path / "run"))
        _, out, _ = call(capsys, "index", *overrides, "--json")
        assert json.loads(out)["pool"] == usable
    manifest.unlink()


def test_a_mistaken_setting_leaves_no_trace(pool_folder, query_folder, tiny_wan, tmp_path, capsys) -> None:
    overrides = sets(*settings(pool_folder, query_folder, tiny_wan, tmp_path / "run"))
    code, _, err = call(capsys, "index", *overrides, "--set", "motion.tracker=dis-medium")
    assert code == 1
    assert "dis-ultrafast" in err
    assert not (tmp_path / "run").exists()


def test_scores_older_than_the_clips_are_not_selected_from(pool_folder, query_folder, tiny_wan, tmp_path, capsys) -> None:
    overrides = sets(*settings(pool_folder, query_folder, tiny_wan, tmp_path / "run"))
    call(capsys, "index", *overrides)
    call(capsys, "score", *overrides)
    few = tmp_path / "few"
    few.mkdir()
    for n in range(3):
        (few / f"clip{n}.mp4").write_bytes((pool_folder / f"clip{n}.mp4").read_bytes())
        (few / f"clip{n}.txt").write_text(f"a square number {n}\n")
    call(capsys, "index", *overrides, "--set", f"pool={few}")
    code, _, err = call(capsys, "select", *overrides)
    assert code == 1
    assert "run `motive score` again" in err


def test_when_every_query_fails_the_reasons_are_told(pool_folder, tiny_wan, tmp_path, capsys) -> None:
    queries = tmp_path / "queries"
    queries.mkdir()
    (queries / "bad.mp4").write_text("not a video")
    code, _, err = call(capsys, "run", *sets(*settings(pool_folder, queries, tiny_wan, tmp_path / "run")))
    assert code == 1
    assert "no query could be attributed" in err
    assert "bad.mp4: not readable as video" in err


def test_clips_are_exported_as_they_were_attributed_or_not_at_all(done, capsys) -> None:
    code, _, err = call(capsys, "export", str(done), "--set", "video.fps=8")
    assert code == 1
    assert "video.fps: stored 16.0, now 8.0" in err


def test_streaming_keeps_no_latents_on_disk(pool_folder, query_folder, tiny_wan, tmp_path, capsys) -> None:
    overrides = sets(*settings(pool_folder, query_folder, tiny_wan, tmp_path / "run"))
    code, _, _ = call(capsys, "index", *overrides, "--no-cache", "--json")
    assert code == 0
    assert not list((tmp_path / "run" / "prepared").glob("clips/*"))


def test_ctrl_c_stops_cleanly_and_the_same_command_goes_on(pool_folder, query_folder, tiny_wan, tmp_path) -> None:
    out = tmp_path / "run"
    # Enough draws that it is still at work when the signal comes, also on a busy machine.
    overrides = sets(*settings(pool_folder, query_folder, tiny_wan, out, "gradients.draws=60"))
    command = [sys.executable, "-m", "motive", "index", *overrides]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        while not list(out.glob("prepared/clips/*")):
            assert process.poll() is None
            time.sleep(0.005)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "the same command goes on" in err
    assert "Traceback" not in err
    again = subprocess.run([*command, "--json"], capture_output=True, text=True, check=True)
    assert json.loads(again.stdout)["pool"] == 6


def test_importing_motive_loads_nothing_heavy() -> None:
    code = (
        "import sys, motive; print(sorted({'torch', 'numpy', 'av', 'cv2', 'pyarrow', 'pydantic', 'yaml'} & set(sys.modules)))"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "[]"


def test_the_doctor_finds_this_machine_fit(capsys) -> None:
    code, out, _ = call(capsys, "doctor", "--json")
    found = json.loads(out)
    assert code == 0, found
    assert found["findings"][-1]["what"] == "self-test"


def test_help_names_every_verb() -> None:
    env = os.environ | {"COLUMNS": "120"}
    printed = subprocess.run([sys.executable, "-m", "motive", "--help"], capture_output=True, text=True, env=env).stdout
    verbs = "prepare index score select export run show train generate doctor demo build-model study"
    for verb in verbs.split():
        assert verb in printed


def test_the_demo_runs_on_what_it_renders(tmp_path, capsys) -> None:
    code, out, _ = call(capsys, "demo", str(tmp_path / "demo"), "--clips", "1", "--json")
    assert code == 0
    facts = json.loads(out)
    assert (facts["pool"], facts["queries"], facts["failed"]) == (10 + 1 + 3 + 4, 10, [])
    assert [row[0] for row in facts["table"][1:3]] == ["Motive, preset: best", "Motive, preset: paper"]
    assert Path(facts["sheet"]).exists()

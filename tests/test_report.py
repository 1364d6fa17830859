"""`python -m a3c_fast.report`: one page that fetches nothing and has in it what the runs' directories have."""

from __future__ import annotations

import base64
import json
import os
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from helpers import FAKE, read_lines, run

from a3c_fast import Config, Trainer, sessions
from a3c_fast.report import main, report

REPORT = "a3c_fast.report"


class Page(HTMLParser):
    """The elements of a page, and the object in it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self._is_data = False
        self.data: dict[str, Any] = {}
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._is_data = dict(attrs).get("id") == "data"

    def handle_endtag(self, tag: str) -> None:
        self._is_data = False

    def handle_data(self, data: str) -> None:
        if self._is_data:
            self.data = json.loads(data)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was resumed, in which a setting was changed, and that has evaluations."""
    run_dir = tmp_path_factory.mktemp("report") / "a"
    config = Config(env_id=FAKE, num_workers=1, total_steps=4000, log_every_seconds=0.001, run_dir=run_dir)
    with Trainer(config) as trainer:
        trainer.run(1000)
    with Trainer(config.replace(resume=True)) as trainer:
        trainer.run(2000)
        trainer.set(entropy_coef=0.125)
        trainer.run()
    line: dict[str, Any] = {"min_return": 0, "max_return": 9, "mean_length": 5, "greedy": False, "seconds": 1}
    evaluations = [(1000, 0.5, 3.0, 0.5), (2000, 1.0, 7.0, 1.5), (3000, 1.5, 5.0, 1.0)]
    names = ("step", "wall_seconds", "mean_return", "std_return")
    texts = [
        json.dumps({**dict(zip(names, each, strict=True)), "episodes": 4, "best": each[0] < 3000, **line})
        for each in evaluations
    ]
    (run_dir / "evaluations.jsonl").write_text("\n".join([*texts, '{"step": 4000, "wal']), encoding="utf-8")
    return run_dir


@pytest.fixture
def run_dir(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "a"))


def test_the_page_has_what_the_directory_has_and_fetches_nothing(original: Path) -> None:
    text = report([original])
    page = Page(text)
    for tag, attributes in page.elements:
        assert tag not in ("link", "iframe", "object") or attributes.get("href") == "data:,"
        for name in ("src", "href", "srcset", "action"):
            assert (attributes.get(name) or "data:").startswith("data:"), (tag, attributes)
    assert "http://" not in text.replace("http://www.w3.org/2000/svg", "")  # the name of a namespace
    assert "https://" not in text
    assert "default-src 'none'" in text
    (found,) = page.data["runs"]
    lines, newest = read_lines(original), read_lines(original)[-1]
    assert (found["name"], found["env"], found["seed"], found["step"]) == ("a", FAKE, 1, newest["step"])
    assert found["series"]["step"] == [line["step"] for line in lines]
    assert found["series"]["mean_return_100"] == pytest.approx([line["mean_return_100"] for line in lines], rel=1e-4)
    assert found["series"]["std_return_100"][-1] == pytest.approx(newest["std_return_100"], rel=1e-4)
    assert [(e["step"], e["mean"], e["best"]) for e in found["evaluations"]] == [
        (1000, 3.0, False),
        (2000, 7.0, True),
        (3000, 5.0, False),
    ]
    assert found["score"] == {"mean": 7.0, "std": 1.5, "human": None, "what": "best evaluation, 4 episodes"}
    first, second = sessions.read(original)
    assert found["resumes"] == [{"step": second.first_step}]
    assert 1000 <= first.last_step == second.first_step < second.last_step == newest["step"]
    assert [(change["name"], change["value"]) for change in found["changes"]] == [("entropy_coef", 0.125)]
    assert {stage["name"] for stage in found["stages"]} == {*first.stage_seconds, *second.stage_seconds}
    assert sum(stage["seconds"] for stage in found["stages"]) == pytest.approx(
        sum(first.stage_seconds.values()) + sum(second.stage_seconds.values())
    )
    assert found["config"]["entropy_coef"] == 0.125
    assert "run_dir" not in found["config"]


def test_runs_beside_each_other_and_a_name_that_is_markup(run_dir: Path, tmp_path: Path) -> None:
    other = tmp_path / "</script><b>" / "a"
    shutil.copytree(run_dir, other)
    text = report([run_dir, other])
    page = Page(text)
    assert [found["name"] for found in page.data["runs"]] == [f"{tmp_path.name}/a", "script><b>/a"]
    assert "b" not in {tag for tag, _ in page.elements}
    assert [found["id"] for found in page.data["runs"]] == [0, 1]


def test_the_newest_video_that_is_small_enough_is_in_the_page(run_dir: Path) -> None:
    assert Page(report([run_dir])).data["runs"][0]["video"] is None
    (run_dir / "old.gif").write_bytes(b"old")
    (run_dir / "new.mp4").write_bytes(b"new video")
    with (run_dir / "large.mp4").open("wb") as file:
        file.truncate(7 * 2**20)
    for when, name in enumerate(("old.gif", "new.mp4", "large.mp4"), 1):
        os.utime(run_dir / name, (when, when))
    video = Page(report([run_dir])).data["runs"][0]["video"]
    assert video["name"] == "new.mp4"
    assert base64.b64decode(video["source"].removeprefix("data:video/mp4;base64,")) == b"new video"


def test_a_long_run_is_thinned_out_and_five_of_them_are_small(run_dir: Path, tmp_path: Path) -> None:
    line = read_lines(run_dir)[-1]
    lines = [{**line, "step": step, "entropy": 1 / (step + 3)} for step in range(20_000)]
    (run_dir / "metrics.jsonl").write_text("".join(json.dumps(each) + "\n" for each in lines), encoding="utf-8")
    dirs = [run_dir, *(Path(shutil.copytree(run_dir, tmp_path / str(i))) for i in range(4))]
    text = report(dirs)
    series = Page(text).data["runs"][4]["series"]
    assert len(text) < 2e6
    assert len(series["step"]) <= 1201
    assert (series["step"][0], series["step"][-1]) == (0, 19_999)
    assert series["entropy"] == [float(f"{1 / (step + 3):.5g}") for step in series["step"]]


def test_numbers_that_no_page_shows_are_left_out(run_dir: Path) -> None:
    line = read_lines(run_dir)[-1] | {"value_loss": 1e300, "entropy": None}
    (run_dir / "metrics.jsonl").write_text(json.dumps(line) + "\n", encoding="utf-8")
    series = Page(report([run_dir])).data["runs"][0]["series"]
    assert (series["value_loss"], series["entropy"]) == ([None], [None])


def test_a_run_without_sessions_checkpoints_and_metrics_is_shown(run_dir: Path) -> None:
    for name in ("sessions.json", "metrics.jsonl", "evaluations.jsonl"):
        (run_dir / name).unlink()
    shutil.rmtree(run_dir / "checkpoints")
    (found,) = Page(report([run_dir])).data["runs"]
    assert (found["step"], found["score"], found["stages"], found["resumes"]) == (0, None, [], [])


def test_the_command(run_dir: Path, tmp_path: Path) -> None:
    result = run(REPORT, "a", "--output", "page.html", cwd=tmp_path)
    assert (result.status, result.stderr) == (0, "")
    assert result.stdout.startswith("page.html, ")
    assert Page((tmp_path / "page.html").read_text(encoding="utf-8")).data["runs"][0]["name"] == "a"


@pytest.mark.parametrize(
    ("arguments", "status", "sentence"),
    [
        ((), 2, "run_dirs"),
        (("missing",), 2, "there is no run in missing"),
        (("a", "missing"), 2, "there is no run in missing"),
        (("a", "--output", "page.txt"), 2, "it must end in .html"),
        (("a", "--output", "none/page.html"), 2, "none is no directory"),
    ],
)
def test_what_cannot_be_is_one_sentence(
    run_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    status: int,
    sentence: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == status
    (line,) = capsys.readouterr().err.splitlines()
    assert sentence in line
    assert not list(tmp_path.glob("*.html"))


def test_no_file_but_a_report_is_replaced(run_dir: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text("mine", encoding="utf-8")
    refused = run("a3c_fast.report", str(run_dir), "--output", str(page))
    assert refused.status == 2
    assert "there is a file that is no report" in refused.error
    assert page.read_text(encoding="utf-8") == "mine"
    page.unlink()
    for _ in range(2):
        assert run("a3c_fast.report", str(run_dir), "--output", str(page)).status == 0

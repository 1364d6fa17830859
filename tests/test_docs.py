"""What pages say is what files and code say."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

import pytest
from helpers import EXTRA_METRICS_KEYS, METRICS_KEYS

import a3c_fast
from a3c_fast import evaluation_log
from bench.result_tables import RESULTS
from bench.results_page import PAGES, ROOT, index, made

PAGES_OF_DOCS = sorted((ROOT / "docs").glob("*.md"))


@pytest.mark.parametrize("page", PAGES)
def test_tables_are_what_the_files_of_results_say(page: str) -> None:
    text = (ROOT / page).read_text()
    names = re.findall(r"<!-- table (\w+) -->", text)
    assert names
    assert made(text, PAGES[page]) == text, "run `python -m bench.results_page`"
    last = text.rindex("<!-- end of table -->")
    changed = text[:last] + "| and a row of nobody's |\n" + text[last:]
    assert made(changed, PAGES[page]) == text


def test_every_table_has_a_place_and_every_file_is_told_of() -> None:
    pages = "".join((ROOT / page).read_text() for page in PAGES)
    assert set(re.findall(r"<!-- table (\w+) -->", pages)) == set(index())
    texts = "".join(path.read_text() for path in [*PAGES_OF_DOCS, RESULTS / "index.toml"])
    entries = [path for path in RESULTS.iterdir() if path.name not in ("epyc", "tuning", "index.toml")]
    assert [path.name for path in entries if path.stem not in texts] == []


def test_every_metric_is_told_of() -> None:
    text = (ROOT / "docs" / "metrics.md").read_text()
    of_training, of_evaluations = text.split("## Evaluations", 1)
    rows = r"^\| (`\w+`(?:, `\w+`)*) \|"
    for part, keys in (
        (of_training, METRICS_KEYS | EXTRA_METRICS_KEYS),
        (of_evaluations, set(evaluation_log.Line.__struct_fields__)),
    ):
        told = [name for row in re.findall(rows, part, re.MULTILINE) for name in re.findall(r"\w+", row)]
        assert sorted(told) == sorted(keys)


def test_the_reference_has_every_public_name() -> None:
    told = set(re.findall(r"^::: a3c_fast\.(?:[\w.]+\.)?(\w+)$", (ROOT / "docs" / "api.md").read_text(), re.MULTILINE))
    assert set(a3c_fast.__all__) <= told


def test_links_between_pages_and_files_lead_somewhere() -> None:
    pages = [*PAGES_OF_DOCS, ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "bench" / "README.md"]
    for page in pages:
        for link in re.findall(r"\]\(([^)#\s]+)(?:#[^)\s]*)?\)", page.read_text()):
            assert ":" in link or (page.parent / link).exists(), (page.name, link)


def test_the_site_is_built_strictly(tmp_path: Path) -> None:
    if any(find_spec(name) is None for name in ("material", "mkdocstrings", "latex2mathml")):
        pytest.skip("mkdocs-material, mkdocstrings or latex2mathml not installed: .ci/run builds the site")
    from mkdocs.commands.build import build
    from mkdocs.config import load_config

    build(load_config(str(ROOT / "mkdocs.yml"), site_dir=str(tmp_path / "site")))
    html = (tmp_path / "site" / "theory" / "index.html").read_text()
    assert "<math" in html
    assert "aside" not in re.sub(r"<[^>]*>", "", html)

"""What `mkdocs build` does beside: files that pages link to come with the site, and formulas become MathML.

The pages link to sources, results and other pages of the repository by their paths, as is right where one looks at it.
Here each such target becomes a page or a file below `source/`, so that the site is whole and asks nobody for anything.
"""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePosixPath
from typing import Any

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

_LINK = re.compile(r"(?<=\]\()([^)\s#]*)(#[^)\s]*)?(?=\))")
_CODE = {".cc": "cpp", ".h": "cpp", ".inc": "cpp", ".py": "python", ".pyi": "python", ".toml": "toml", ".yml": "yaml"}
_FORMULA = re.compile(r"(?P<code>```.*?```|`[^`]*`)|\$\$(?P<block>.+?)\$\$|\$(?P<inline>[^$]+?)\$", re.DOTALL)
_ASIDE = "---\nsearch:\n  exclude: true\n---\n\n"  # sources are no answers to what is searched for

_uris: dict[str, str] = {}  # of what comes with the site: paths from the root -> names among mkdocs' files
_formulas: list[str] = []


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds what pages link to outside of docs/, and what that links to."""
    root = Path(config.config_file_path).parent
    _uris.clear()
    nav = set(re.findall(r"source/([\w/.-]+)", Path(config.config_file_path).read_text()))
    waiting = sorted(nav)
    for file in files.documentation_pages():
        waiting += _targets(Path(file.abs_src_path or "").read_text(), PurePosixPath("docs") / file.src_uri)
    while waiting:
        path = waiting.pop()
        if path in _uris or path.startswith("docs/") or not (root / path).exists():
            continue
        content, links = _page_of(root, path)
        if content is None:
            _uris[path] = f"source/{path}"
            files.append(File.generated(config, _uris[path], abs_src_path=str(root / path)))
            continue
        uri = f"source/{path}/index.md" if (root / path).is_dir() else f"source/{path.removesuffix('.md')}.md"
        _uris[path] = uri
        level = InclusionLevel.INCLUDED if path in nav else InclusionLevel.NOT_IN_NAV
        files.append(File.generated(config, uri, content=content, inclusion=level))
        waiting += links
    return files


def _page_of(root: Path, path: str) -> tuple[str | None, list[str]]:
    """The Markdown of a page for a file or a directory, and what it links to; none for pictures, numbers and logs."""
    place, name = root / path, PurePosixPath(path)
    if place.is_dir():
        shown = sorted(entry.name for entry in place.iterdir() if not entry.name.startswith((".", "__pycache__")))
        follows = not path.startswith("bench/results")
        linked = [entry for entry in shown if follows and ((place / entry).is_dir() or (place / entry).suffix in _CODE)]
        lines = [f"- [`{entry}`]({entry})" if entry in linked else f"- `{entry}`" for entry in shown]
        return f"{_ASIDE}# {path}\n\n" + "\n".join(lines) + "\n", [f"{path}/{entry}" for entry in linked]
    if name.suffix == ".md":
        text = place.read_text()
        return text, _targets(text, name)
    if name.suffix in _CODE:
        return f'{_ASIDE}# {path}\n\n````{_CODE[name.suffix]} linenums="1"\n{place.read_text()}````\n', []
    return None, []


def _targets(text: str, page: PurePosixPath) -> list[str]:
    """The paths from the root of what a page at a path from the root links to."""
    return [_resolved(page, match[1]) for match in _LINK.finditer(text) if match[1] and ":" not in match[1]]


def _resolved(page: PurePosixPath, link: str) -> str:
    return os.path.normpath(str(page.parent / link))


def _path_of(uri: str) -> PurePosixPath:
    """The path from the root of what has this name among mkdocs' files; of a directory that of something in it."""
    for path, known in _uris.items():
        if known == uri:
            return PurePosixPath(path, "index") if uri.endswith("/index.md") else PurePosixPath(path)
    return PurePosixPath("docs", uri)


def on_page_markdown(markdown: str, *, page: Page, **_: Any) -> str:
    """Links go to where their targets are in the site; formulas are put aside until Markdown has been read."""
    uri = page.file.src_uri
    if PurePosixPath(uri.removesuffix(".md")).suffix in _CODE:
        return markdown
    path = _path_of(uri)

    def in_site(match: re.Match[str]) -> str:
        if not match[1] or ":" in match[1]:
            return match[0]
        target = _resolved(path, match[1])
        known = target.removeprefix("docs/") if target.startswith("docs/") else _uris.get(target)
        if known is None:
            return match[0]
        return os.path.relpath(known, PurePosixPath(uri).parent) + (match[2] or "")

    def aside(match: re.Match[str]) -> str:
        if match["code"]:
            return match[0]
        _formulas.append(convert(match["block"] or match["inline"], display="block" if match["block"] else "inline"))
        return f"formula{len(_formulas) - 1}aside"

    markdown = _LINK.sub(in_site, markdown)
    return _FORMULA.sub(aside, markdown) if "$$" in markdown else markdown


def on_page_content(html: str, **_: Any) -> str:
    """Formulas where they were; a default that depends on the environment is `...` in the reference."""
    return re.sub(r"formula(\d+)aside", lambda match: _formulas[int(match[1])], html).replace("_BY_FAMILY", "...")

"""A hook of MkDocs: pages of the site that are no files in docs/, and links that work there and on a code host alike.

The documents link to each other and to files of the repository by relative paths, as code hosts show them. On the site
a link to a document leads to its page, and a link to any other file to a page with the file's text. `mkdocs.yml` names
the documents that lie elsewhere, and the modules of the API reference.
"""

from __future__ import annotations

import re
from pathlib import Path
from posixpath import normpath, relpath
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
SOURCE = "source"  # the folder of the pages that show files
_LINK = re.compile(r"(!?\[[^\]]*\]\()([^)\s#]*)(#[^)\s]*)?(\))")
_FENCE = re.compile(r"^(`{3,}|~{3,}).*?^\1[`~]*$", re.MULTILINE | re.DOTALL)
_LANGUAGES = {".py": "python", ".yaml": "yaml", ".yml": "yaml", ".toml": "toml", ".json": "json", ".md": "markdown"}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the documents that lie elsewhere, the API reference, and a page for each file that a document links to."""
    documents: dict[str, str] = config.extra["documents"]
    for name, path in documents.items():
        files.append(File.generated(config, name, content=(ROOT / path).read_text(encoding="utf-8")))
    for room, modules in config.extra["api"].items():
        files.append(File.generated(config, f"api/{room}.md", content=_reference(room, modules)))
    shown: set[str] = set()
    for file in list(files.documentation_pages()):
        place = _place(file.src_uri, config)
        if place is None:
            continue
        for target in _targets(file.content_string, place):
            if target not in shown and target not in documents.values() and not _is_document(target):
                shown.add(target)
                files.append(_source(target, config))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn the links between files of the repository into links between pages."""
    place = _place(page.file.src_uri, config)
    if place is None:
        return markdown
    pages = {path: name for name, path in config.extra["documents"].items()}

    def turned(match: re.Match[str]) -> str:
        before, link, anchor, after = match.groups()
        if not link or "://" in link or link.startswith("mailto:"):
            return match[0]
        target = normpath(f"{Path(place).parent.as_posix()}/{link}")
        name = pages.get(target) or (target.removeprefix("docs/") if _is_document(target) else f"{SOURCE}/{target}.md")
        if files.get_file_from_path(name) is None:
            return match[0]  # MkDocs tells that it leads nowhere
        return f"{before}{relpath(name, Path(page.file.src_uri).parent.as_posix())}{anchor or ''}{after}"

    return _outside_of_code(markdown, turned)


def _place(name: str, config: MkDocsConfig) -> str | None:
    """Where a page lies in the repository; None for a page that is made here."""
    if name.startswith((f"{SOURCE}/", "api/")):
        return None
    return str(config.extra["documents"].get(name) or f"docs/{name}")


def _is_document(target: str) -> bool:
    """Whether the site has the file as it is: what lies in docs/, without its scripts."""
    return target.startswith("docs/") and not target.endswith(".py")


def _targets(markdown: str, place: str) -> list[str]:
    """The files of the repository that a page links to. Raises PluginError for one that is not there."""
    found = []

    def note(match: re.Match[str]) -> str:
        if match[2] and "://" not in match[2] and not match[2].startswith("mailto:"):
            found.append(normpath(f"{Path(place).parent.as_posix()}/{match[2]}"))
        return match[0]

    _outside_of_code(markdown, note)
    for target in found:
        if not (ROOT / target).exists():
            raise PluginError(f"{place}: it links to {target}, which is not there")
    return found


def _outside_of_code(markdown: str, change: Any) -> str:
    """Change the links of a page; those in blocks of code stay."""
    parts, at = [], 0
    for fence in _FENCE.finditer(markdown):
        parts += [_LINK.sub(change, markdown[at : fence.start()]), fence[0]]
        at = fence.end()
    return "".join([*parts, _LINK.sub(change, markdown[at:])])


def _source(target: str, config: MkDocsConfig) -> File:
    """A page that shows a file, or the names in a folder."""
    path = ROOT / target
    if path.is_dir():
        names = sorted(entry.name for entry in path.iterdir() if not entry.name.startswith(("_", ".")))
        body = "\n".join(f"- `{name}`" for name in names)
    else:
        text = path.read_text(encoding="utf-8")
        fence = "`" * max(4, 1 + max((len(run) for run in re.findall(r"`+", text)), default=0))
        body = f"{fence}{_LANGUAGES.get(path.suffix, 'text')}\n{text.rstrip()}\n{fence}"
    head = "---\nsearch:\n  exclude: true\nhide: [toc]\n---\n"
    return File.generated(config, f"{SOURCE}/{target}.md", content=f"{head}# {target}\n\n{body}\n")


def _reference(room: str, modules: list[str]) -> str:
    return "\n\n".join([f"# {room}", *(f"::: {name}" for name in modules)]) + "\n"

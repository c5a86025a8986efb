"""The documents as a site: it builds without a warning, and every link in it leads somewhere."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag

import pytest
from mkdocs.commands.build import build
from mkdocs.config import load_config
from mkdocs.exceptions import PluginError

from tests.docs.test_docs import script
from tests.support.sources import ROOT

pytestmark = pytest.mark.timeout(900)  # a busy machine builds slowly


class _Page(HTMLParser):
    """The links, the files that it loads, and the places of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.places: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        named = {name: value for name, value in attributes if value}
        self.places |= {named[name] for name in ("id", "name") if name in named}
        if tag == "a" and "href" in named:
            self.links.append(named["href"])
        self.loads += [named[name] for name in ("src",) if name in named]
        if tag == "link" and "href" in named:
            self.loads.append(named["href"])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("site")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)  # where mkdocstrings looks for the code
        build(load_config(str(ROOT / "mkdocs.yml"), site_dir=str(out), strict=True))  # raises Abort at a warning
    return out


@pytest.mark.slow
def test_every_link_of_every_page_leads_somewhere(site: Path) -> None:
    pages = {path: _Page(path.read_text()) for path in site.rglob("*.html")}
    assert len(pages) > 80
    lost = []
    for path, page in pages.items():
        if path.name == "404.html":  # its links begin at the root of the host
            continue
        for link in [*page.links, *page.loads]:
            address, place = urldefrag(link)
            if "://" in address or address.startswith(("mailto:", "data:")):
                continue
            target = (path.parent / unquote(address)).resolve() if address else path
            target = target / "index.html" if target.is_dir() else target
            if not target.exists() or (place and target in pages and unquote(place) not in pages[target].places):
                lost.append(f"{path.relative_to(site)}: {link}")
    assert not lost


@pytest.mark.slow
def test_a_page_loads_nothing_from_elsewhere(site: Path) -> None:
    for path in site.rglob("*.html"):
        assert [one for one in _Page(path.read_text()).loads if "://" in one] == [], path


@pytest.mark.slow
def test_documents_source_reference_and_search(site: Path) -> None:
    home = (site / "index.html").read_text()
    assert 'href="chat/"' in home
    assert 'href="model-card/"' in home
    source = (site / "source" / "envs" / "action.py" / "index.html").read_text()
    assert "class Action:" in re.sub(r"<[^>]+>", "", source)
    assert 'id="envs.action.Action"' in (site / "api" / "envs" / "index.html").read_text()
    found = json.loads((site / "search" / "search_index.json").read_text())["docs"]
    assert any(one["location"] == "api/training/#training.evaluation.statistics.wilson" for one in found)
    assert not any(one["location"].startswith("source/") for one in found)


def test_a_link_to_nothing_is_refused() -> None:
    pages = script("site_pages")
    assert pages._targets("[a](../envs/action.py#x) [d](https://e.example/f)", "docs/x.md") == ["envs/action.py"]
    with pytest.raises(PluginError, match=r"docs/x\.md: it links to envs/gone\.py, which is not there"):
        pages._targets("[a](../envs/gone.py)", "docs/x.md")
    assert pages._targets("```\n[a](../envs/gone.py)\n```\n", "docs/x.md") == []

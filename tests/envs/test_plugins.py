"""The registry, against a distribution that is really installed on the path."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from envs import plugins
from envs.errors import UserError


@pytest.fixture(autouse=True)
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A distribution with a good world, a world whose import fails and one that isn't where it says."""
    (tmp_path / "plug_good.py").write_text("class World:\n    pass\n")
    (tmp_path / "plug_bad.py").write_text("raise OSError('libgame.so:\\n  no such file')\n")
    info = tmp_path / "plug-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: plug\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text(
        "[ludens.worlds]\nmeadow = plug_good:World\nswamp = plug_bad:World\nmoor = plug_good:Moor\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in ("plug_good", "plug_bad"):
        sys.modules.pop(name, None)


def test_an_installed_world_is_found_and_nothing_else_is_imported() -> None:
    assert {"doom", "meadow", "moor", "swamp"} <= set(plugins.names("world"))
    assert "plug_good" not in sys.modules
    assert plugins.load("world", "meadow").__name__ == "World"
    assert "plug_bad" not in sys.modules


def test_a_reference_works_wherever_a_name_does() -> None:
    assert plugins.load("model", "plug_good:World") is plugins.load("world", "meadow")


@pytest.mark.parametrize("wrong", ["plug_missing:World", "plug_good:Moor"])
def test_a_wrong_reference_says_why(wrong: str) -> None:
    with pytest.raises(plugins.BrokenPluginError, match=rf"policy '{wrong}' can't be loaded: \w+Error: .*plug_"):
        plugins.load("policy", wrong)


def test_an_unknown_name_answers_with_the_nearest() -> None:
    with pytest.raises(LookupError, match=r"unknown world 'medow'; did you mean 'meadow'\? known: .*swamp") as caught:
        plugins.load("world", "medow")
    assert isinstance(caught.value, UserError)
    with pytest.raises(plugins.UnknownNameError, match=r"unknown world 'zzzz'; known: "):
        plugins.load("world", "zzzz")


def test_a_broken_plugin_fails_with_its_cause_in_one_line() -> None:
    message = "world 'swamp' of plug 1.2 can't be loaded: OSError: libgame.so: no such file (from plug_bad:World)"
    with pytest.raises(plugins.BrokenPluginError) as caught:
        plugins.load("world", "swamp")
    assert str(caught.value) == message
    assert isinstance(caught.value.__cause__, OSError)
    causes = plugins.broken("world")
    assert causes["swamp"] == message
    assert "has no attribute 'Moor'" in causes["moor"]
    assert "meadow" not in causes


def test_the_first_of_two_distributions_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "other"
    info = other / "rival-3.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: rival\nVersion: 3\n")
    (info / "entry_points.txt").write_text("[ludens.worlds]\nmeadow = plug_bad:World\n")
    monkeypatch.syspath_prepend(str(other))
    assert plugins.entries("world")["meadow"].value == "plug_bad:World"

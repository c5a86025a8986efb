"""YAML files that hold too much, too deep, twice, or what Python can't hold: one error, with the line."""

from __future__ import annotations

from pathlib import Path

import pytest

from envs.yaml_files import YamlFileError, load_yaml


def read(folder: Path, text: str | bytes) -> object:
    path = folder / "file.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return load_yaml(path)


def test_what_people_write(tmp_path: Path) -> None:
    text = "a: &x {b: [1, 2.5, yes]}\nc: *x\nd: 2026-11-28\ne:\n  <<: *x\n  f: .5\n"
    assert read(tmp_path, text) == {
        "a": {"b": [1, 2.5, True]}, "c": {"b": [1, 2.5, True]}, "d": "2026-11-28", "e": {"b": [1, 2.5, True], "f": 0.5},
    }  # fmt: skip
    assert read(tmp_path, "") is None
    assert read(tmp_path, b"\xef\xbb\xbfa: 1") == {"a": 1}
    assert read(tmp_path, "when: 9999-12-31T23:59:59-14:00") == {"when": "9999-12-31T23:59:59-14:00"}


LAUGHS = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 40))


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: 1\nb: 2\na: 3\n", "line 3: not YAML: a key is there twice"),
        ("top:\n  a: 1\n  a: 2\n", "line 3: not YAML: a key is there twice"),
        ("a: " + "9" * 5000, "too large"),
        ("a: !!timestamp 9999-99-99", "too large"),
        ("[" * 5000, "nested|not YAML"),
        ("a: " * 1, None),
        ("- " * 3000 + "x", "nested"),
        ("{a: " * 150 + "1" + "}" * 150, "nested more than 100"),
        ("a: &x [*x]", "within itself"),
        (LAUGHS, "more than 1000000 values"),
        ("a: [1", "not YAML"),
        ("a: 'x", "not YAML"),
        ("a: \x01", "not YAML"),
        ("? [a, b]\n: c", "not YAML"),
        ("!!python/object/apply:os.abort []", "not YAML"),
        (b"\xff\xfe\x00", "UTF-8"),
        ("x" * (4 * 2**20 + 1), "more than 4 MiB"),
    ],
)
def test_what_is_wrong_is_one_error(tmp_path: Path, text: str | bytes, says: str | None) -> None:
    if says is None:
        assert read(tmp_path, text) == {"a": None}
        return
    with pytest.raises(YamlFileError, match=says):
        read(tmp_path, text)

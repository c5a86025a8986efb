"""Our names are common words: other packages and folders that bring them are found, and doctor says so."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from agent.cli import doctor, own_names


@pytest.fixture(autouse=True)
def path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where Python looks, without the folder of tests, which pytest adds and which has our names in it."""
    tests = Path(__file__).parents[2]
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if Path(entry or ".").resolve() != tests])


def install(folder: Path, distribution: str, *packages: str) -> None:
    """Lay down what pip leaves of a distribution."""
    info = folder / f"{distribution}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
    records = [f"{distribution}-1.0.dist-info/METADATA,,"]
    for package in packages:
        (folder / package).mkdir(exist_ok=True)
        (folder / package / "__init__.py").write_text("mine = False\n")
        records.append(f"{package}/__init__.py,,")
    (info / "RECORD").write_text("\n".join(records) + "\n")


def test_where_ludens_is_alone_nothing_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (finding,) = doctor._names()
    assert (finding.ok, finding.detail) == (True, "nobody else brings agent, envs, tasks, rewards, training")


def test_a_distribution_with_a_package_of_our_name_is_a_clash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path / "site", "job-queue", "tasks", "job_queue")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path / "site")
    assert own_names.others() == {"tasks": ["job-queue"]}
    clash, place = doctor._names()
    assert (clash.ok, clash.needed) == (False, True)
    assert clash.detail == "tasks is also of job-queue: one overwrites files of the other"
    assert clash.mend.startswith("python3 -m venv ludens && ludens/bin/pip install ludens")
    assert str(tmp_path / "site/tasks") in place.detail
    # It is true: Python that looks there first has the other one.
    script = "import tasks; raise SystemExit(0 if tasks.mine is False else 1)"
    environment = {"PYTHONPATH": str(tmp_path / "site"), "PATH": "/usr/bin:/bin"}
    assert subprocess.run([sys.executable, "-c", script], env=environment, check=False).returncode == 0


def test_a_folder_where_python_starts_is_said_and_one_without_code_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "training").mkdir()
    (tmp_path / "training" / "notes.txt").touch()
    (tmp_path / "envs.py").touch()
    monkeypatch.chdir(tmp_path)
    (finding,) = doctor._names()
    assert (finding.ok, finding.needed) == (False, False)
    assert finding.detail == f"{tmp_path / 'envs.py'}: Python that starts there imports it instead of Ludens's"
    assert finding.mend.startswith(f"mv {tmp_path / 'envs.py'} ANOTHER_NAME")


def test_a_missing_extra_is_named_with_its_own_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("envs.extras.installed", lambda extra: False)
    (finding,) = doctor._safely(doctor._desktop)
    assert (finding.name, finding.ok, finding.needed) == ("desktop", False, False)
    assert (finding.detail, finding.mend) == ("needs ludens[desktop]", "pip install 'ludens[desktop]'")

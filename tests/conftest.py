"""What all tests share: marks for the components that a test needs, and a summary of what was skipped for want of one.

With CI=true every component is expected to be there, and a skipped test is a failure.
"""

from __future__ import annotations

import os
import re
import signal
import sys
from collections import Counter
from collections.abc import Generator, Iterator, Mapping

import pytest

from tests.support import lerobot_env
from tests.support.components import missing
from tests.support.sources import collector_off

os.environ.setdefault("OMP_NUM_THREADS", "1")
if os.environ.pop("PYTHONDONTWRITEBYTECODE", None):  # many containers set it, and every process that a test starts
    sys.dont_write_bytecode = False  # would compile torch anew, which takes seconds
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell starts what runs in the background so, and children
    signal.signal(signal.SIGINT, signal.default_int_handler)  # would inherit it: Ctrl+C could not be tested

# Reasons that name a command: "Chromium is missing: apt-get install chromium"; several are joined with "; ".
_REASON = re.compile(r"(?P<title>[^:;]+) is missing: (?P<command>[^;]+)")

# It needs a Python 3.12, which not every machine of CI has; .ci/run says so then.
collect_ignore = ["training/data/test_lerobot_real.py"] if os.environ.get("CI") and not lerobot_env.present() else []


def _needed(item: pytest.Item) -> list[str]:
    """The components that a test needs, by name: those of its marks, and of fixtures in its module's FIXTURE_NEEDS."""
    of_fixtures: Mapping[str, str] = getattr(getattr(item, "module", None), "FIXTURE_NEEDS", {})
    used = getattr(item, "fixturenames", ())
    named = [name for mark in item.iter_markers("needs") for name in mark.args]
    return list(dict.fromkeys([*named, *(name for fixture, name in of_fixtures.items() if fixture in used)]))


@pytest.hookimpl(tryfirst=True)  # before -m chooses by marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if _needed(item):
            item.add_marker("real")


@pytest.hookimpl(tryfirst=True)  # before the fixtures of the test start what is not there
def pytest_runtest_setup(item: pytest.Item) -> None:
    if why := missing(_needed(item)):
        pytest.skip(why)


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    """Why a test or a module was skipped."""
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return text.removeprefix("Skipped: ")


def _refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    """In CI every component is present, so a skip there hides something that is broken."""
    if os.environ.get("CI") == "true" and report.skipped and not hasattr(report, "wasxfail"):
        report.longrepr = f"skipped, and with CI=true nothing may be: {_reason(report)}"
        report.outcome = "failed"


# Outermost, so that the report already says whether a test was skipped or failed as expected.
@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    with collector_off():  # pytest parses the source of a test that failed
        report = yield
    _refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    with collector_off():  # pytest parses what it imports, to rewrite its assertions
        report = yield
    _refuse_skip(report)
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say by component how many tests were skipped, and the one command that installs what is missing."""
    lines = list(_skipped(terminalreporter.stats.get("skipped", [])))
    if lines:
        terminalreporter.section("skipped, by missing component")
        for line in lines:
            terminalreporter.write_line(line)


def _skipped(reports: list[pytest.TestReport | pytest.CollectReport]) -> Iterator[str]:
    """The lines of the summary: a row for every component or other reason, then the command."""
    counts: Counter[str] = Counter()
    commands: dict[str, str] = {}
    for report in reports:
        reason = _reason(report)
        found = {m["title"].strip(): m["command"].strip() for m in _REASON.finditer(reason)}
        counts.update(list(found) or [reason])
        commands |= found
    for title, count in counts.most_common():
        yield f"{count:5d}  {title:24}  {commands.get(title, '')}".rstrip()
    if commands:
        yield f"To install all of it: {_one_command(commands)}"


def _one_command(commands: dict[str, str]) -> str:
    """One command for all: Debian's packages together, then the rest."""
    apt, packages, others = "apt-get install ", dict[str, None](), dict[str, None]()
    for command in commands.values():
        if command.startswith(apt):
            packages |= dict.fromkeys(command.removeprefix(apt).split())
        else:
            others[command] = None
    return " && ".join([*([f"{apt}-y {' '.join(packages)}"] if packages else []), *others])

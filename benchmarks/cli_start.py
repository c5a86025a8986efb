"""How long `agent --help` takes, from the start of its process to the exit.

python benchmarks/cli_start.py [RUNS]
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import sysconfig
import time
from pathlib import Path


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    agent = Path(sysconfig.get_path("scripts")) / "agent"
    seconds = []
    for _ in range(runs + 1):
        start = time.perf_counter()
        subprocess.run([agent, "--help"], check=True, stdout=subprocess.DEVNULL)
        seconds.append(time.perf_counter() - start)
    warm = sorted(seconds[1:])  # the first run may still compile bytecode
    print(
        f"agent --help, {runs} runs: median {1000 * statistics.median(warm):.0f} ms, slowest {1000 * warm[-1]:.0f} ms"
    )


if __name__ == "__main__":
    main()

"""A worker for tests of the processes themselves. This module imports nothing that takes a new process long."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

from envs.errors import UserError


class Squares:
    """Squares numbers. A negative one raises; a path ends the process once, the first time that it is tried, and
    "deadly" ends it every time. "large" gives more than a pipe holds, and "slow" takes a minute."""

    def work(self, job: Any) -> Any:
        if job == "deadly":
            os.kill(os.getpid(), signal.SIGKILL)
        if job == "large":
            return bytes(1 << 24)
        if job == "slow":
            time.sleep(60.0)
            return None
        if isinstance(job, Path):
            if not job.exists():
                job.write_text("tried")
                os.kill(os.getpid(), signal.SIGKILL)
            return "done by another"
        if job < 0:
            raise ArithmeticError(f"{job} is negative")
        if job > 1000:
            raise UserError("the disk is full")
        return job * job

    def close(self) -> None:
        pass

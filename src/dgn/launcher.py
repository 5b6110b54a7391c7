"""The launcher that started this process: msrun, another one or none. Reads the environment and imports no MindSpore,
so that a wrong start is an error before processes wait for each other."""

from __future__ import annotations

import os
import socket
import time

from dgn.errors import UserError

PATIENCE = 3600  # seconds that a process waits for the others
NOTICE = 5.0  # seconds without a connection after which a process prints what it waits for
OTHER_LAUNCHERS = ("OMPI_COMM_WORLD_SIZE", "RANK_SIZE")  # their numbers of processes


def launched_by_msrun() -> bool:
    """Whether msrun started this process, as a worker or as the scheduler."""
    return os.environ.get("MS_ROLE") in ("MS_WORKER", "MS_SCHED")


def launched_processes() -> int:
    """The number of processes that msrun started together, from the environment, so also before they connect; 1 without
    msrun."""
    count = os.environ.get("MS_WORKER_NUM", "")
    return max(int(count), 1) if launched_by_msrun() and count.isdecimal() else 1


def check_launcher() -> None:
    """Raises UserError if mpirun or a script with a rank table started this process and others, because each of them
    would train separately."""
    for name in OTHER_LAUNCHERS:
        size = os.environ.get(name, "")
        if not launched_by_msrun() and size.isdecimal() and int(size) > 1:
            raise UserError(f"{name} is {size}: it seems that mpirun or a script with a rank table started {size} "
                            "processes, and each would train separately. Use scripts/run_distribute_train.sh, which "
                            f"starts them with msrun; for a training in one process unset {name}")


def scheduler_answers(host: str, port: str) -> bool:
    """Whether the scheduler of msrun accepts connections within a few seconds."""
    end = time.monotonic() + NOTICE
    while time.monotonic() < end:
        try:
            with socket.create_connection((host, int(port)), timeout=1):
                return True
        except (OSError, ValueError):
            time.sleep(0.2)
    return False

"""Places where the chaos suite ends a process, as a power cut would: nothing is flushed, closed or said.

`SMS_FAILPOINTS` names a directory. A process that reaches a point whose name is a file there takes the file and dies,
so each point that was armed strikes once. Without the variable a point costs a comparison.
"""

import os
import signal
from pathlib import Path

_directory = os.environ.get("SMS_FAILPOINTS")


def reach(name: str) -> None:
    """Die here by SIGKILL where the point is armed. `name`: stage and step, as `dispatch.produced`."""
    if _directory is None:
        return
    try:
        Path(_directory, name).unlink()
    except FileNotFoundError:
        return
    os.kill(os.getpid(), signal.SIGKILL)

"""Python, set for a process that serves."""

import gc
import sys

#: A thread that waits for its turn has it after this, not after Python's 5 ms.
_SWITCH_SECONDS = 0.001


def tune() -> None:
    """Call it once what stays is there: what is imported and built by now is never looked at for garbage again.

    Records make objects by the ten thousand and no cycles: by default Python collects them over and over in vain, and
    holds everything up for 80 ms each time. And a record passes between the loop and its consumer's thread several
    times a stage, a request between the loop and whoever computes: waiting for its turn each time makes a login code
    late.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)
    sys.setswitchinterval(_SWITCH_SECONDS)

"""`blade ...` on a leash: it runs only as long as somebody holds the other end of its standard input.

A process that dies by kill -9 cannot stop its children; its end of their pipes is closed all the same. That works on
every POSIX system, with no process id that could have been given to somebody else meanwhile.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time

STOP_TIMEOUT_S = 45.0  # above the 30 s a server takes by default to finish its uploads


def _follow() -> None:
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(STOP_TIMEOUT_S)
    os._exit(1)


def main() -> None:
    """Runs the command line given; when standard input ends, asks it to stop, and at last makes it stop."""
    threading.Thread(target=_follow, name="leash", daemon=True).start()
    from blade_client.cli import main as blade

    sys.argv[0] = "blade"
    blade(prog_name="blade")


if __name__ == "__main__":
    main()

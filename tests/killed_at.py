"""Run a vfscreen command and kill it (SIGKILL) at its n-th touch of the results folder.

`killed_at.py N COMMAND...`: N = 0 kills nothing and prints how many touches there were. A touch is
what the interpreter itself reports: a file opened for writing, a rename, a removal, a lock, a
worker started; half of the kills fall before it happens, half a moment after it.
"""

import os
import signal
import sys
import threading

TOUCHES = {"os.rename", "os.remove", "fcntl.flock", "subprocess.Popen", "os.mkdir", "os.truncate"}

point = int(sys.argv[1])
counted = 0


def kill_me():
    os.kill(os.getpid(), signal.SIGKILL)


def audit(event, arguments):
    global counted
    written = event == "open" and isinstance(arguments[2], int) and arguments[2] & os.O_ACCMODE
    if not (written or event in TOUCHES):
        return
    counted += 1
    if counted == point:
        if point % 2:
            kill_me()
        # After: inside the write, or between the rename and the flush of the folder.
        threading.Timer(0.002 * (point % 7), kill_me).start()


from vfscreen.cli.main import main  # noqa: E402  imports touch nothing that matters

sys.addaudithook(audit)
try:
    main(sys.argv[2:])
finally:
    if point == 0:
        print(f"touches {counted}")

"""Two processes that are one training, as torchrun would start them, for the price of one import."""

import os
import socket
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# A process that waits for ever for the other one is ended by its alarm.
STUCK_SECONDS = 100

# Each line is "PORT FUNCTION ERRORS ARGUMENT": two copies of this process call the function of the given code.
LAUNCHER = """
import os, signal, sys, traceback
exec(compile(sys.argv[1], "<code>", "exec"))
print("ready", flush=True)
for line in sys.stdin:
    port, function, errors, argument = line.rstrip("\\n").split("\\t")
    children = []
    for rank in ("0", "1"):
        child = os.fork()
        if child == 0:
            signal.alarm(int(sys.argv[2]))
            os.dup2(os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
            os.environ.update(RANK=rank, LOCAL_RANK=rank, MASTER_PORT=port)
            code = 99
            try:
                code = globals()[function](argument)
            except BaseException:
                traceback.print_exc()
            sys.stderr.flush()
            os._exit(code)
        children.append(child)
    print(*(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children), flush=True)
"""


class RankPair:
    """A process whose copies are ranks 0 and 1 of a training; POSIX only.

    Args:
        code: Python that defines functions of one text that return an exit code; it starts no thread.
    """

    def __init__(self, code):
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
            "TORCHELASTIC_RUN_ID": "test",
            "WORLD_SIZE": "2",
            "LOCAL_WORLD_SIZE": "2",
            "MASTER_ADDR": "127.0.0.1",
        }
        self.process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", LAUNCHER, code, str(STUCK_SECONDS)],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout.readline() == "ready\n"

    def call(self, function, argument, folder):
        """Return the exit codes of ranks 0 and 1, and all that they wrote to standard error.

        Args:
            function: name of one that the code defines.
            argument: its text, without tabs and newlines.
            folder: an existing one for what is written to standard error.
        """
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        errors = Path(folder) / f"errors_{port}.txt"
        self.process.stdin.write(f"{port}\t{function}\t{errors}\t{argument}\n")
        self.process.stdin.flush()
        first, second = (int(word) for word in self.process.stdout.readline().split())
        return first, second, errors.read_text()

    def close(self):
        self.process.stdin.close()
        self.process.wait(30)
        self.process.stdout.close()

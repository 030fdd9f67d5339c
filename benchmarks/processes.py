"""Processes under measurement: start, processor time, memory, bytes written, end."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_END_SECONDS = 15.0


class Measured:
    """One or more processes that do one job together."""

    def __init__(self, *processes: subprocess.Popen[bytes]) -> None:
        """Take processes that run."""
        self.processes = processes

    def cpu_seconds(self) -> float:
        """Return the processor time of all threads so far, user and system."""
        return sum(_cpu_seconds(process.pid) for process in self.processes)

    def written_bytes(self) -> int:
        """Return the bytes that they caused to be written to disk so far."""
        # What was deleted before it reached the disk is taken off.
        done = [_io(process.pid) for process in self.processes]
        return sum(io["write_bytes"] - io["cancelled_write_bytes"] for io in done)

    def resident_bytes(self) -> int:
        """Return the resident memory."""
        return sum(_resident(process.pid) for process in self.processes)

    def pause(self) -> None:
        """Stop them where they are."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Have them go on."""
        self._signal(signal.SIGCONT)

    def check(self) -> None:
        """Raise RuntimeError if one has ended."""
        for process in self.processes:
            if process.poll() is not None:
                message = f"{process.args!r} ended with {process.returncode}; see its log"
                raise RuntimeError(message)

    def _signal(self, number: int) -> None:
        for process in self.processes:
            process.send_signal(number)


@contextlib.contextmanager
def running(  # noqa: PLR0913 - as Popen has them
    command: Sequence[object],
    log: Path,
    *,
    environment: dict[str, str] | None = None,
    stdin: int | None = subprocess.DEVNULL,
    stdout: int | None = None,
    user: int | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command; end it, and wait for its end, when the block ends."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            [str(part) for part in command],
            env=os.environ | (environment or {}),
            stdin=stdin,
            stdout=output if stdout is None else stdout,
            stderr=output,
            user=user,
            group=user,
            extra_groups=None if user is None else [],
        )
    try:
        yield process
    finally:
        end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process that this program started: kindly first."""
    for number in (signal.SIGCONT, signal.SIGTERM):
        process.send_signal(number)
    try:
        process.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def wait_for(condition: Callable[[], object], what: str, seconds: float = 60) -> None:
    """Wait until a condition holds.

    Raises:
        TimeoutError: it did not within so many seconds; the text says what was waited for.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            message = f"waited {seconds:.0f} s in vain for {what}"
            raise TimeoutError(message)
        time.sleep(0.02)


def _cpu_seconds(pid: int) -> float:
    # The name, in brackets, may hold spaces.
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _io(pid: int) -> dict[str, int]:
    lines = Path(f"/proc/{pid}/io").read_text(encoding="utf-8").splitlines()
    return {name: int(value) for name, _, value in (line.partition(": ") for line in lines)}


def _resident(pid: int) -> int:
    pages = Path(f"/proc/{pid}/statm").read_text(encoding="utf-8").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")

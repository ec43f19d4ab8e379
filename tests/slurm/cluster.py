"""A real Slurm of two nodes, from Debian's packages: munged, slurmctld, a slurmd for each node, all on free ports.

Both nodes are this machine: a slurmd tells itself from the other by its name, its port and its folder. Partition `main`
is the default; jobs of `urgent` preempt those of `main`, which are requeued.

What was seen on 22.05: a unix socket's path must be short; without a database there is no sacct; a requeued task waits
for its credential to expire (`cred_expire`, 120 s unless set); time limits are whole minutes, and looked at every 30 s.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType

from pacs.servers import find_binary, free_port

NODES = ("node1", "node2")
CPUS = 2  # of each node, as far as Slurm knows: it fills a node before the next
PATIENCE_S = 120

_CONF = """\
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
SlurmctldPort={ctld_port}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.sock,cred_expire=5
StateSaveLocation={folder}/ctld
SlurmdSpoolDir={folder}/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
MpiDefault=none
MailProg=/bin/true
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=1,sched_min_interval=0,bf_interval=1,batch_sched_delay=0
ReturnToService=2
KillWait=5
MinJobAge=3600
Licenses=pacs:2
SlurmdParameters=config_overrides
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
{nodes}
PartitionName=main Nodes=ALL Default=YES MaxTime=01:00:00 State=UP PriorityTier=1
PartitionName=urgent Nodes=ALL MaxTime=01:00:00 State=UP PriorityTier=10 PreemptMode=OFF
"""


class Slurm:
    """A cluster that runs; a context manager that ends it with all its jobs."""

    def __init__(self, commands: Mapping[str, Sequence[str]]) -> None:
        # Not pytest's folder: its path may be too long for a socket.
        self.folder = Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))
        self.folder.chmod(0o755)
        self.jobs_folder = self.folder
        """Where the tasks that were submitted last say how they stand."""
        self._processes: list[subprocess.Popen[bytes]] = []
        self._slurmd: dict[str, subprocess.Popen[bytes]] = {}
        self._write_commands(commands)
        self.environment = {
            name: value for name, value in os.environ.items() if not name.startswith("SLURM")
        } | {
            "SLURM_CONF": str(self.folder / "slurm.conf"),
            "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
            "PYTHONPATH": str(Path(__file__).resolve().parents[2]),
        }

    def __enter__(self) -> Slurm:
        try:
            self._start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.run("scancel", "--user", getpass.getuser(), check=False)
        with contextlib.suppress(AssertionError):
            self.until(lambda: not self.run("squeue", "--noheader").strip(), "no job in the queue", 30)
        self._stop()

    def until(self, condition: Callable[[], bool], what: str, patience_s: float = PATIENCE_S) -> None:
        """Poll until `condition()`; when the time is over, fail with what was waited for and how all stands."""
        deadline = time.monotonic() + patience_s
        while not condition():
            if time.monotonic() > deadline:
                raise AssertionError(f"after {patience_s} s not yet: {what}\n{self._stand()}")
            time.sleep(0.05)

    def _stand(self) -> str:
        """The queue, the nodes, and the ends of the logs of Slurm and of the tasks that were submitted last."""
        queue = self.run("squeue", "--array", "--format=%i %P %T %N %r %S", check=False)
        nodes = self.run("sinfo", "--Node", "--format=%N %T %E", check=False)
        told = [path for path in self.jobs_folder.glob("*") if path.suffix in (".log", ".state", ".events")]
        logs = (*sorted(self.folder.glob("*.out")), *sorted(told))
        ends = (f"--- {path.name}\n{_end_of(path)}" for path in logs)
        return "\n".join((queue, nodes, *ends))

    def run(self, *argv: object, check: bool = True) -> str:
        """Run a command of Slurm, or one that uses Slurm; its stdout."""
        ended = subprocess.run(
            [*map(str, argv)],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            timeout=PATIENCE_S,
            check=False,
        )
        assert not check or ended.returncode == 0, f"{argv}: {ended.stdout}{ended.stderr}"
        return ended.stdout

    def jobs(self, *ids: str) -> list[dict[str, str]]:
        """What Slurm tells of jobs, each task of an array one of them."""
        told = self.run("scontrol", "show", "job", "--oneliner", check=False).splitlines()
        jobs = [dict(pair.split("=", 1) for pair in line.split() if "=" in pair) for line in told]
        return [job for job in jobs if {job.get("JobId"), job.get("ArrayJobId")} & set(ids)]

    def states(self, *ids: str) -> dict[str, str]:
        """The state of each task of an array by its number, or of a job by its id."""
        return {job.get("ArrayTaskId", job["JobId"]): job["JobState"] for job in self.jobs(*ids)}

    def await_end(self, *ids: str, patience_s: float = PATIENCE_S * 3) -> dict[str, str]:
        """The states of jobs, once all of them are over."""
        waiting = {"PENDING", "RUNNING", "COMPLETING", "CONFIGURING", "REQUEUED", "SUSPENDED"}

        def over() -> bool:
            states = self.states(*ids)
            return bool(states) and not waiting & set(states.values())

        self.until(over, f"the end of the jobs {', '.join(ids)}", patience_s)
        return self.states(*ids)

    def _write_commands(self, commands: Mapping[str, Sequence[str]]) -> None:
        (self.folder / "bin").mkdir()
        for name, argv in commands.items():
            path = self.folder / "bin" / name
            words = " ".join(f"'{word}'" for word in argv)
            path.write_text(f'#!/bin/sh\nexec {words} "$@"\n', encoding="utf-8")
            path.chmod(0o755)

    def _start(self) -> None:
        folder, host = self.folder, socket.gethostname().partition(".")[0]
        for name in ("ctld", *NODES):
            (folder / name).mkdir()
        key = folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)
        conf = _CONF.format(
            host=host,
            user=getpass.getuser(),
            ctld_port=free_port(),
            folder=folder,
            nodes="\n".join(
                f"NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={free_port()} CPUs={CPUS} "
                "RealMemory=2000 State=UNKNOWN"
                for name in NODES
            ),
        )
        (folder / "slurm.conf").write_text(conf, encoding="ascii")
        self._spawn(
            "munged",
            "--foreground",
            f"--key-file={key}",
            f"--socket={folder}/munge.sock",
            f"--pid-file={folder}/munged.pid",
            f"--log-file={folder}/munged.log",
            f"--seed-file={folder}/munge.seed",
            "--num-threads=2",
        )
        self.until((folder / "munge.sock").exists, "munged")
        self._spawn("slurmctld", "-D", "-c")
        for node in NODES:
            self.start_node(node, "-c")
        self.until(lambda: self.node_states() == dict.fromkeys(NODES, "idle"), "both nodes idle")

    def node_states(self) -> dict[str, str]:
        """Each node and its state, such as `idle`, `mixed`, `down`."""
        told = self.run("sinfo", "--noheader", "--Node", "--format=%N %T", "--partition=main", check=False)
        return dict(line.split() for line in told.splitlines())

    def start_node(self, node: str, *options: str) -> None:
        """Start the slurmd of a node; with `-c` it forgets what ran there."""
        self._slurmd[node] = self._spawn("slurmd", "-D", "-N", node, *options, log=node)

    def cut_off(self, node: str) -> None:
        """A node that Slurm cannot reach any more: its slurmd is killed, what runs there goes on."""
        self._slurmd[node].kill()
        self._slurmd[node].wait(PATIENCE_S)

    def lose(self, *nodes: str) -> None:
        """Say that nodes are lost, as Slurm does by itself after SlurmdTimeout."""
        self.run("scontrol", "update", f"NodeName={','.join(nodes)}", "State=DOWN", "Reason=lost")

    def _spawn(self, name: str, *arguments: str, log: str = "") -> subprocess.Popen[bytes]:
        with (self.folder / f"{log or name}.out").open("ab") as out:
            process = subprocess.Popen(
                [find_binary(name), *arguments],
                env=self.environment,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._processes.append(process)
        return process

    def _stop(self) -> None:
        for number, patience_s in ((signal.SIGTERM, 10), (signal.SIGKILL, 10)):
            for process in reversed(self._processes):
                if process.poll() is None:
                    process.send_signal(number)
            for process in self._processes:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(patience_s)
        # What ran on a node that was cut off is nobody's any more.
        for process in processes_with("environ", f"SLURM_CONF={self.environment['SLURM_CONF']}"):
            end_family(process)
        shutil.rmtree(self.folder, ignore_errors=True)


def processes_with(file: str, *words: str) -> list[int]:
    """The processes whose `file` below /proc (`cmdline`, `environ`) holds all these words."""
    wanted = {word.encode() for word in words}
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended
            if wanted <= set((folder / file).read_bytes().split(b"\0")):
                found.append(int(folder.name))
    return found


def parent(process: int) -> int:
    return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])


def end_family(process: int) -> None:
    """Kill a process and all that descend from it."""
    # First they are halted, from the top: children of one that is killed belong to it no more, and are not found.
    family = _halted(process)
    for each in family:
        with contextlib.suppress(ProcessLookupError):
            os.kill(each, signal.SIGKILL)


def _halted(process: int) -> list[int]:
    """A process and all that descend from it, none of which can start another one any more."""
    try:
        os.kill(process, signal.SIGSTOP)
        while _state(process) not in "TtZX":
            time.sleep(0.001)
        lists = Path(f"/proc/{process}/task").glob("*/children")  # each thread has a list of its own
        children = [int(word) for path in lists for word in path.read_text().split()]
    except (ProcessLookupError, FileNotFoundError):
        return []
    return [process, *(each for child in children for each in _halted(child))]


def _state(process: int) -> str:
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]


def _end_of(path: Path, lines: int = 25) -> str:
    return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])

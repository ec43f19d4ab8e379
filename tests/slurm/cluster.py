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
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from pacs.runs import until
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
            until(lambda: not self.run("squeue", "--noheader").strip(), 30)
        self._stop()

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
        deadline = time.monotonic() + patience_s
        while (states := self.states(*ids)) and waiting & set(states.values()):
            assert time.monotonic() < deadline, f"still not over: {states}"
            time.sleep(0.2)
        return states

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
        until((folder / "munge.sock").exists, PATIENCE_S)
        self._spawn("slurmctld", "-D", "-c")
        for node in NODES:
            self.start_node(node, "-c")
        until(lambda: self.node_states() == dict.fromkeys(NODES, "idle"), PATIENCE_S)

    def node_states(self) -> dict[str, str]:
        """Each node and its state, such as `idle`, `mixed`, `down`."""
        told = self.run("sinfo", "--noheader", "--Node", "--format=%N %T", "--partition=main", check=False)
        return dict(line.split() for line in told.splitlines())

    def start_node(self, node: str, *options: str) -> None:
        """Start the slurmd of a node; with `-c` it forgets what ran there."""
        self._slurmd[node] = self._spawn("slurmd", "-D", "-N", node, *options)

    def cut_off(self, node: str) -> None:
        """A node that Slurm cannot reach any more: its slurmd is killed, what runs there goes on."""
        self._slurmd[node].kill()
        self._slurmd[node].wait(PATIENCE_S)

    def lose(self, *nodes: str) -> None:
        """Say that nodes are lost, as Slurm does by itself after SlurmdTimeout."""
        self.run("scontrol", "update", f"NodeName={','.join(nodes)}", "State=DOWN", "Reason=lost")

    def _spawn(self, name: str, *arguments: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"{name}.out").open("ab") as log:
            process = subprocess.Popen(
                [find_binary(name), *arguments],
                env=self.environment,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
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
        shutil.rmtree(self.folder, ignore_errors=True)

"""A Slurm cluster of four nodes on this machine, for tests: its own key, configuration, ports and folder."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from contextlib import suppress
from pathlib import Path

from support.waiting import wait_for

NEEDED = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel", "scontrol", "sinfo")
NODES = 4
# KillWait, cred_expire and SlurmdTimeout are short, for nodes die and jobs come back in tests. Memory is not counted.
CONFIGURATION = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
SlurmdUser=root
AuthInfo=socket={folder}/munge/socket,cred_expire=6
StateSaveLocation={folder}/state
SlurmctldPidFile={folder}/slurmctld.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdSpoolDir={folder}/spool.%n
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmdLogFile={folder}/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=5
SlurmdTimeout=5
SlurmctldTimeout=10
SlurmctldParameters=preempt_send_user_signal
SchedulerParameters=batch_sched_delay=0,sched_interval=2,sched_min_interval=100000
JobRequeue=1
MpiDefault=none
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
GresTypes=gpu,shard
NodeName=n[1-4] NodeHostname={host} NodeAddr=127.0.0.1 Port=[{first}-{last}] CPUs=2 RealMemory=4000 Gres=gpu:2,shard:8
PartitionName=low Nodes=ALL Default=YES MaxTime=60 PriorityTier=1 GraceTime=5
PartitionName=high Nodes=ALL MaxTime=60 PriorityTier=10
"""
FAKE_GPUS = """\
AutoDetect=off
NodeName=n[1-4] Name=gpu File=/dev/zero
NodeName=n[1-4] Name=gpu File=/dev/full
NodeName=n[1-4] Name=shard Count=8
"""


def missing() -> str:
    """Why the cluster cannot be started here; "" when it can."""
    absent = [name for name in NEEDED if not shutil.which(name)]
    if absent:
        return f"no {', '.join(absent)} here (apt-get install slurmctld slurmd slurm-client munge)"
    return "" if os.geteuid() == 0 else "only root can start slurmd"


class Cluster:
    """slurmctld and a slurmd for each node. `environment` makes Slurm's commands talk to it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = os.environ | {"SLURM_CONF": str(folder / "slurm.conf")}
        self.nodes: dict[str, subprocess.Popen[bytes]] = {}
        self.daemons: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        ports = free_ports(NODES + 1)
        host = socket.gethostname().partition(".")[0]
        text = CONFIGURATION.format(folder=self.folder, host=host, port=ports[0], first=ports[1], last=ports[-1])
        (self.folder / "slurm.conf").write_text(text)
        (self.folder / "gres.conf").write_text(FAKE_GPUS)
        (self.folder / "state").mkdir()
        self._munge()
        self._daemon("slurmctld", "-D", "-f", str(self.folder / "slurm.conf"))
        for index in range(1, NODES + 1):
            self.revive(f"n{index}")
        self.wait_until_idle()

    def _munge(self) -> None:
        folder = self.folder / "munge"
        folder.mkdir(mode=0o755)
        key = folder / "key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o600)
        files = {"socket": "socket", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
        options = [f"--{name}={folder / file}" for name, file in files.items()]
        self._daemon("munged", "--foreground", "--force", f"--key-file={key}", *options)
        wait_for((folder / "socket").exists, 10)

    def _daemon(self, *command: str) -> subprocess.Popen[bytes]:
        with open(self.folder / f"{command[0]}.out", "ab") as out:
            process = subprocess.Popen(command, env=self.environment, stdout=out, stderr=out, start_new_session=True)
        self.daemons.append(process)
        return process

    def revive(self, node: str) -> None:
        """Start a node, or start it again after `kill`."""
        self.nodes[node] = self._daemon("slurmd", "-D", "-N", node, "-f", str(self.folder / "slurm.conf"))

    def kill(self, node: str) -> None:
        """The node loses its power: slurmd and all that runs under it are gone at once."""
        victims = [self.nodes[node].pid, *self._steps(node)]
        for pid in victims:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)  # or a step would tell of its end
        for pid in [*victims, *(child for victim in victims for child in descendants(victim))]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.nodes[node].wait()

    def _steps(self, node: str) -> list[int]:
        """Processes of the node's steps: each stands in a folder of its own or names its node."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal():
                with suppress(OSError):
                    name = (entry / "comm").read_text().strip()
                    if name == "slurmstepd" and node in _nodes_below(int(entry.name)):
                        found.append(int(entry.name))
        return found

    def run(self, *command: str) -> str:
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout

    def wait_until_idle(self, seconds: float = 60.0) -> None:
        def idle() -> bool:
            command = ("sinfo", "-h", "-N", "-p", "low", "-t", "idle", "-o", "%n")
            said = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False).stdout
            return len(said.split()) == NODES

        wait_for(idle, seconds)

    def clear(self) -> None:
        """Cancel every job and bring back every node."""
        self.run("scancel", "--user=root")
        for node, process in self.nodes.items():
            if process.poll() is not None:
                self.revive(node)
        wait_for(lambda: not self.run("squeue", "-h"), 60)
        self.wait_until_idle()

    def stop(self) -> None:
        with suppress(AssertionError, subprocess.TimeoutExpired):
            self.run("scancel", "--user=root")
            wait_for(lambda: not self.run("squeue", "-h"), 20)
        for process in reversed(self.daemons):
            process.terminate()
        for process in self.daemons:
            with suppress(subprocess.TimeoutExpired):
                process.wait(5)
            process.kill()
            process.wait()


def free_ports(count: int) -> list[int]:
    """So many ports in a row that nobody listens at."""
    for start in range(24000 + os.getpid() % 5000, 60000, count):
        sockets = []
        try:
            for port in range(start, start + count):
                sockets.append(socket.socket())
                sockets[-1].bind(("127.0.0.1", port))
            return list(range(start, start + count))
        except OSError:
            continue
        finally:
            for one in sockets:
                one.close()
    raise AssertionError("no free ports")


def descendants(pid: int) -> list[int]:
    """Processes below a process."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with suppress(OSError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                children.setdefault(int(fields[1]), []).append(int(entry.name))
    found = list(children.get(pid, []))
    for child in found:
        found += children.get(child, [])
    return found


def _nodes_below(pid: int) -> set[str]:
    """Names of the nodes that the processes below a step run on."""
    names = set()
    for child in descendants(pid):
        with suppress(OSError):
            for variable in (Path("/proc") / str(child) / "environ").read_bytes().split(b"\0"):
                if variable.startswith(b"SLURMD_NODENAME="):
                    names.add(variable.partition(b"=")[2].decode())
    return names

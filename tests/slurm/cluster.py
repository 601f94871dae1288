"""A real Slurm on this machine, in a folder of its own.

    cluster.py start FOLDER
    cluster.py stop FOLDER
    cluster.py check            # is everything installed?

One node with two partitions, `cpu` and `gpu`; the GPU is a device file without a device behind it,
which is all that Slurm looks at. Needs root and the Debian packages slurmctld, slurmd, slurm-client
and munge. Set SLURM_CONF to FOLDER/slurm.conf to talk to it.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

PROGRAMS = ("slurmctld", "slurmd", "sbatch", "munged")
PORTS = {"SlurmctldPort": 26817, "SlurmdPort": 26818}

CONFIGURATION = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
CryptoType=crypto/munge
SlurmctldPort={SlurmctldPort}
SlurmdPort={SlurmdPort}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SchedulerParameters=sched_interval=2,batch_sched_delay=1
SlurmdParameters=config_overrides
SlurmdTimeout=20
ReturnToService=2
KillWait=5
MinJobAge=600
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory=1000000 Gres=gpu:1 State=UNKNOWN
PartitionName=cpu Nodes={host} Default=YES MaxTime=1440 State=UP OverSubscribe=NO
PartitionName=gpu Nodes={host} MaxTime=1440 State=UP OverSubscribe=NO
"""


def missing_programs() -> list[str]:
    """What has to be installed before a cluster can be started."""
    return [name for name in PROGRAMS if not shutil.which(name)]


def start(folder: Path) -> None:
    """Start munge and the daemons; returns when the node is idle.

    Raises RuntimeError with the end of the daemons' logs if it does not become so.
    """
    folder = folder.resolve()
    for name in ("munge", "state", "spool"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    _start_munge(folder / "munge")
    gpu = folder / "gpu0"
    if not gpu.exists():
        subprocess.run(["mknod", gpu, "c", "1", "3"], check=True)
    settings = {"folder": folder, "host": socket.gethostname().split(".")[0], **PORTS}
    text = CONFIGURATION.format(cpus=os.cpu_count(), **settings)
    (folder / "slurm.conf").write_text(text)
    (folder / "gres.conf").write_text(f"Name=gpu File={gpu}\n")
    (folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")
    for daemon in ("slurmctld", "slurmd"):
        subprocess.run([daemon], env=environment(folder), check=True)
    _wait_until_idle(folder)


def start_node(folder: Path) -> None:
    """Start the node's daemon again after it was stopped."""
    subprocess.run(["slurmd"], env=environment(folder), check=True)
    _wait_until_idle(folder)


def stop_node(folder: Path) -> None:
    """Stop the node's daemon, as when a node goes down; its jobs are killed with it."""
    _stop(folder / "slurmd.pid")


def stop(folder: Path) -> None:
    """Cancel all jobs and stop everything that `start` started."""
    subprocess.run(["scancel", "--user=root"], env=environment(folder), check=False)
    for name in ("slurmd.pid", "slurmctld.pid", "munge/pid"):
        _stop(folder / name)


def environment(folder: Path) -> dict[str, str]:
    """The environment in which Slurm's commands talk to this cluster."""
    return os.environ | {"SLURM_CONF": str(Path(folder).resolve() / "slurm.conf")}


def _start_munge(folder: Path) -> None:
    """Munge insists on its own user and on folders that nobody else can write to."""
    key = folder / "key"
    if not key.exists():
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)
    for path in (folder, key):
        shutil.chown(path, "munge", "munge")
    closed = [str(parent) for parent in folder.parents if not parent.stat().st_mode & 0o001]
    if closed:
        raise PermissionError(f"user munge cannot enter {closed[-1]}: choose another folder")
    options = {name: f"--{name}-file={folder / name}" for name in ("key", "pid", "log", "seed")}
    subprocess.run(
        ["setpriv", "--reuid=munge", "--regid=munge", "--clear-groups", "munged", "--force",
         f"--socket={folder / 'socket'}", *options.values()],
        check=True,
    )  # fmt: skip


def _wait_until_idle(folder: Path, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    state = ""
    while time.monotonic() < end:
        found = subprocess.run(
            ["sinfo", "--noheader", "--format=%T"], env=environment(folder), text=True,
            capture_output=True,
        )  # fmt: skip
        state = found.stdout + found.stderr
        if found.returncode == 0 and set(found.stdout.split()) <= {"idle", "mixed", "allocated"}:
            return
        time.sleep(0.5)
    logs = [folder / "slurmctld.log", folder / "slurmd.log"]
    ends = "\n".join(log.read_text()[-1000:] for log in logs if log.exists())
    raise RuntimeError(f"the node is not idle after {seconds:.0f} s but {state!r}:\n{ends}")


def _stop(pid_file: Path) -> None:
    if not pid_file.exists():
        return
    pid = int(pid_file.read_text())
    for attempt in range(100):
        try:
            os.kill(pid, signal.SIGKILL if attempt > 60 else signal.SIGTERM if not attempt else 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)


if __name__ == "__main__":
    if missing_programs():
        sys.exit(
            f"missing: {', '.join(missing_programs())}; "
            "apt-get install slurmctld slurmd slurm-client munge"
        )
    if sys.argv[1:] != ["check"]:
        {"start": start, "stop": stop}[sys.argv[1]](Path(sys.argv[2]))

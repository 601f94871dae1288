"""A real Slurm on this machine, in a folder of its own.

    python -m tests.slurm.cluster start FOLDER
    python -m tests.slurm.cluster stop FOLDER
    python -m tests.slurm.cluster check            # is everything installed?

Two nodes, both in the partitions `cpu` and `gpu`; the GPU of each is a device file without a device
behind it, which is all that Slurm looks at. Jobs that use more memory than they asked for are
killed. Without accounting (accounting.py) `squeue` answers and `sacct` does not. Needs root and the
Debian packages slurmctld, slurmd, slurm-client and munge. Set SLURM_CONF to FOLDER/slurm.conf and
put FOLDER/bin on the PATH to talk to it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil

from tests.slurm import accounting

PROGRAMS = ("slurmctld", "slurmd", "sbatch", "srun", "munged")
NO_ACCOUNTING = "AccountingStorageType=accounting_storage/none\n"
NODES = ("node1", "node2")
NODE = """\
NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs={cpus} RealMemory=1000000 \
Gres=gpu:1 State=UNKNOWN"""
DAEMONS = ("slurmctld", *(f"slurmd.{node}" for node in NODES))
SRUN = """\
#!/bin/sh
# The jobs of Snakemake's executor call srun without the environment variable that says where this
# Slurm's configuration is.
SLURM_CONF={folder}/slurm.conf exec {srun} "$@"
"""

CONFIGURATION = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
CryptoType=crypto/munge
SlurmctldPort={port}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SchedulerParameters=sched_interval=2,batch_sched_delay=1
SlurmdParameters=config_overrides
SlurmdTimeout=30
ReturnToService=2
KillWait=5
MinJobAge=40000
MpiDefault=none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherParams=OverMemoryKill
JobAcctGatherFrequency=2
{accounting}GresTypes=gpu
{nodes}
PartitionName=cpu Nodes=ALL Default=YES MaxTime=1440 State=UP OverSubscribe=NO
PartitionName=gpu Nodes=ALL MaxTime=1440 State=UP OverSubscribe=NO
"""


def missing_programs() -> list[str]:
    """What has to be installed before a cluster can be started."""
    return [name for name in PROGRAMS if not shutil.which(name)]


def start(folder: Path, with_accounting: bool = False) -> None:
    """Start munge and the daemons; returns when the nodes are idle.

    Raises RuntimeError with the end of the daemons' logs if they do not become so.
    """
    folder = folder.resolve()
    for name in ("munge", "state", "bin", *(f"spool.{node}" for node in NODES)):
        (folder / name).mkdir(parents=True, exist_ok=True)
    _start_munge(folder / "munge")
    gpu = folder / "gpu0"
    if not gpu.exists():
        subprocess.run(["mknod", gpu, "c", "1", "3"], check=True)
    lines = NO_ACCOUNTING
    if with_accounting:
        lines = accounting.start(folder, environment(folder))
    (folder / "slurm.conf").write_text(configuration(folder, lines))
    (folder / "gres.conf").write_text(f"Name=gpu File={gpu}\n")
    (folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")
    srun = folder / "bin/srun"
    srun.write_text(SRUN.format(folder=folder, srun=shutil.which("srun")))
    srun.chmod(0o755)
    subprocess.run(["slurmctld"], env=environment(folder), check=True)
    for node in NODES:
        start_node(folder, node)
    _wait_until_idle(folder)


def configuration(folder: Path, accounting_lines: str) -> str:
    """The text of slurm.conf, with ports that are free now."""
    host = socket.gethostname().split(".")[0]
    nodes = [
        NODE.format(node=node, host=host, port=accounting.free_port(), cpus=os.cpu_count())
        for node in NODES
    ]
    return CONFIGURATION.format(
        folder=folder,
        host=host,
        port=accounting.free_port(),
        nodes="\n".join(nodes),
        accounting=accounting_lines,
    )


def start_node(folder: Path, node: str) -> None:
    """Start a node's daemon."""
    subprocess.run(["slurmd", "-N", node], env=environment(folder), check=True)


def crash_node(folder: Path, node: str, job: str) -> None:
    """Kill a node's daemon and the job that runs on it, as when its power fails.

    A daemon that is only stopped lets its jobs go on.
    """
    _stop(folder / f"slurmd.{node}.pid", signal.SIGKILL)
    for process in [*watching_processes(job), *working_processes(job)]:
        process.kill()


def watching_processes(job: str) -> list[psutil.Process]:
    """Slurm's own processes that watch over a job, one a step."""
    return [
        process
        for process in psutil.process_iter(["name", "cmdline"])
        if process.info["name"] == "slurmstepd"
        and " ".join(process.info["cmdline"] or []).startswith(f"slurmstepd: [{job}.")
    ]


def working_processes(job: str) -> list[psutil.Process]:
    """The processes that do a job's work."""
    return [
        process
        for process in psutil.process_iter(["name", "environ"])
        if process.info["name"] != "slurmstepd"
        and (process.info["environ"] or {}).get("SLURM_JOB_ID") == job
    ]


def stop(folder: Path) -> None:
    """Cancel all jobs and stop everything that `start` started."""
    subprocess.run(["scancel", "--user=root"], env=environment(folder), check=False)
    for name in (*reversed(DAEMONS), "slurmdbd", "database/mariadbd", "munge/munged"):
        _stop(folder / f"{name}.pid")


def environment(folder: Path) -> dict[str, str]:
    """The environment in which Slurm's commands talk to this cluster."""
    folder = Path(folder).resolve()
    path = f"{folder / 'bin'}:{os.environ['PATH']}"
    return os.environ | {"SLURM_CONF": str(folder / "slurm.conf"), "PATH": path}


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
    files = {
        "key": key,
        "pid": folder / "munged.pid",
        "log": folder / "log",
        "seed": folder / "seed",
    }
    options = [f"--{name}-file={path}" for name, path in files.items()]
    subprocess.run(
        ["setpriv", "--reuid=munge", "--regid=munge", "--clear-groups", "munged", "--force",
         f"--socket={folder / 'socket'}", *options],
        check=True,
    )  # fmt: skip


def _wait_until_idle(folder: Path, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    state = ""
    while time.monotonic() < end:
        found = subprocess.run(
            ["sinfo", "--noheader", "--format=%T"],
            env=environment(folder),
            text=True,
            capture_output=True,
        )
        state = found.stdout + found.stderr
        if found.returncode == 0 and set(found.stdout.split()) <= {"idle", "mixed", "allocated"}:
            return
        time.sleep(0.5)
    logs = [folder / f"{daemon}.log" for daemon in DAEMONS]
    ends = "\n".join(log.read_text()[-1000:] for log in logs if log.exists())
    raise RuntimeError(f"the nodes are not idle after {seconds:.0f} s but {state!r}:\n{ends}")


def _stop(pid_file: Path, with_signal: int = signal.SIGTERM) -> None:
    """End a daemon, the hard way if it does not go within ten seconds."""
    with contextlib.suppress(FileNotFoundError, psutil.NoSuchProcess):
        process = psutil.Process(int(pid_file.read_text()))
        process.send_signal(with_signal)
        try:
            process.wait(10)
        except psutil.TimeoutExpired:
            process.kill()


if __name__ == "__main__":
    if missing_programs():
        sys.exit(
            f"missing: {', '.join(missing_programs())}; "
            "apt-get install slurmctld slurmd slurm-client munge"
        )
    if sys.argv[1:] != ["check"]:
        {"start": start, "stop": stop}[sys.argv[1]](Path(sys.argv[2]))

"""Slurm's accounting, which `sacct` asks: slurmdbd and a MariaDB, in the folder of the cluster.

Needs the Debian packages slurmdbd, mariadb-server-core and mariadb-client-core.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

PROGRAMS = ("slurmdbd", "mariadbd", "mariadb-install-db", "my_print_defaults")

CONFIGURATION = """\
DbdHost=localhost
DbdPort={port}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
LogFile={folder}/slurmdbd.log
PidFile={folder}/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={database_port}
StorageUser=slurm
StoragePass=slurm
"""
# Lines of slurm.conf. The comment of a job is its rule and wildcards.
OF_CLUSTER = """\
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=localhost
AccountingStoragePort={port}
AccountingStoragePass={folder}/munge/socket
AccountingStoreFlags=job_comment
"""


def missing_programs() -> list[str]:
    """What has to be installed before accounting can be started."""
    return [name for name in PROGRAMS if not shutil.which(name)]


def start(folder: Path, environment: Mapping[str, str]) -> str:
    """Start both and return the lines of slurm.conf that lead there. Munge has to run before."""
    database_port, port = free_port(), free_port()
    _start_database(folder / "database", database_port)
    path = folder / "slurmdbd.conf"
    path.touch(mode=0o600)  # it holds a password, and slurmdbd insists
    path.write_text(CONFIGURATION.format(folder=folder, port=port, database_port=database_port))
    subprocess.run(["slurmdbd"], env=environment, check=True)
    _wait_for_port(port, folder / "slurmdbd.log")
    return OF_CLUSTER.format(folder=folder, port=port)


def free_port() -> int:
    """A port of this machine that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _start_database(folder: Path, port: int) -> None:
    data, log = folder / "data", folder / "log"
    data.mkdir(parents=True)
    install = ["mariadb-install-db", "--no-defaults", "--user=root", f"--datadir={data}"]
    subprocess.run(install, check=True, stdout=subprocess.DEVNULL)
    users = folder / "users.sql"
    users.write_text(
        "CREATE USER IF NOT EXISTS slurm@'127.0.0.1' IDENTIFIED BY 'slurm';\n"
        "GRANT ALL ON *.* TO slurm@'127.0.0.1';\n"
    )
    options = {
        "user": "root", "datadir": data, "init-file": users, "log-error": log,
        "socket": folder / "socket", "pid-file": folder / "mariadbd.pid",
        "port": port, "bind-address": "127.0.0.1",
    }  # fmt: skip
    arguments = [f"--{name}={value}" for name, value in options.items()]
    subprocess.Popen(["mariadbd", "--no-defaults", "--skip-name-resolve", *arguments])
    _wait_for_port(port, log)


def _wait_for_port(port: int, log: Path, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with socket.socket() as connection:
            if connection.connect_ex(("127.0.0.1", port)) == os.EX_OK:
                return
        time.sleep(0.2)
    said = log.read_text()[-2000:] if log.exists() else ""
    raise RuntimeError(f"nothing answers at port {port} after {seconds:.0f} s:\n{said}")

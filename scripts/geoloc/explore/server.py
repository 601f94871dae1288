"""Serves the page on this machine only."""

from __future__ import annotations

import errno
import socket
import threading
import webbrowser
from pathlib import Path

import uvicorn

from geoloc.errors import InUse
from geoloc.explore.app import make_app
from geoloc.explore.run import FinishedRun

HOST = "127.0.0.1"
MOST_REQUESTS = 64  # at the same time


def listen(port: int) -> socket.socket:
    """Open a socket of this machine's loopback; port 0 takes a free one.

    Raises:
        InUse: if another program uses the port.
    """
    opened = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        opened.bind((HOST, port))
    except OSError as error:
        opened.close()
        if error.errno not in (errno.EADDRINUSE, errno.EACCES):
            raise
        raise InUse(
            f"port {port} can't be used ({error.strerror}); choose another with --port "
            "(0: any free one)"
        ) from error
    opened.listen(128)
    return opened


def serve(folder: Path, port: int, browser: bool) -> None:
    """Serve the page of a run until Ctrl-C.

    Args:
        folder: results/{run}.
        port: port of 127.0.0.1; 0 takes a free one.
        browser: open the page in the default browser.

    Raises:
        GeolocError: if the folder is not a finished run, or the port is in use.
    """
    app = make_app(FinishedRun(folder))
    with listen(port) as opened:
        address = f"http://{HOST}:{opened.getsockname()[1]}/"
        print(f"{address} shows {folder}. Press Ctrl-C to stop.", flush=True)
        if browser:  # it waits until the server answers
            threading.Thread(target=webbrowser.open, args=[address], daemon=True).start()
        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            server_header=False,
            lifespan="off",
            limit_concurrency=MOST_REQUESTS,
            timeout_graceful_shutdown=1,
        )
        uvicorn.Server(config).run(sockets=[opened])

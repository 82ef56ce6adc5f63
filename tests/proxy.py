"""Caddy with the shipped Caddyfile in front of a web process, where Caddy is installed."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

from django.conf import settings

from config.devstack.processes import spawn_process

CADDY = shutil.which("caddy")
CADDYFILE = Path(settings.BASE_DIR) / "config/proxy/Caddyfile"
OLD_BUFFERS = "buffer_requests\n\t\tmax_buffer_size 5MB"  # called request_buffers in Caddy 2.6 (Debian 12)


def start(folder: Path, *, port: int, web: int) -> subprocess.Popen[bytes]:
    """Start Caddy on the loopback port, without TLS, and wait until it listens."""
    assert CADDY
    file = folder / "Caddyfile"
    file.write_text(_caddyfile(web))
    environment = os.environ | {"PUBLIC_URL": f"http://127.0.0.1:{port}", "HOME": str(folder)}
    environment |= {"XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    with open(folder / "caddy.log", "ab") as log:
        process = spawn_process(
            [CADDY, "run", "--config", str(file), "--adapter", "caddyfile"],
            on_parent_death=signal.SIGKILL,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    while True:
        assert process.poll() is None, (folder / "caddy.log").read_text()
        try:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
        except ConnectionRefusedError:
            time.sleep(0.02)
        else:
            return process


def _caddyfile(web: int) -> str:
    """Return the shipped Caddyfile, bound to loopback and with the address of the web process."""
    text = CADDYFILE.read_text()
    before, _, rest = text.partition("\t\tdynamic a web 8000 {")
    text = f"{before}\t\tto 127.0.0.1:{web}\n{rest.partition('}')[2].lstrip()}"
    text = text.replace("{\n\tservers {", "{\n\tadmin off\n\tservers {", 1)
    text = text.replace("{$PUBLIC_URL} {", "{$PUBLIC_URL} {\n\tbind 127.0.0.1", 1)
    return text.replace("request_buffers 5MB", OLD_BUFFERS) if _is_old() else text


def _is_old() -> bool:
    version = subprocess.run([str(CADDY), "version"], capture_output=True, text=True).stdout.lstrip("v")
    return tuple(int(part) for part in version.split(".")[:2]) < (2, 7)

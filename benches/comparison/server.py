"""The server that the rivals are measured on: one that survives between runs where it is told to.

Its programs, and the user that runs it, are those of the tests (tests/servers). What differs: its
data lies on disk, and its settings are PostgreSQL's own but for those below.
"""

import importlib.machinery
import importlib.util
import os
import shutil
import signal
import subprocess
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    # The disk's pauses would fall on whoever is at work then.
    "fsync": "off",
    "max_wal_size": "16GB",
    "checkpoint_timeout": "1h",
    "autovacuum": "off",
    # As a server of this size would have it.
    "shared_buffers": "1GB",
    "max_locks_per_transaction": "1024",
    "timezone": "UTC",
}
STOP_SECONDS = 120


def tests_servers():
    """The module tests/servers, whose name has no suffix."""
    path = os.path.join(ROOT, "tests", "servers")
    loader = importlib.machinery.SourceFileLoader("servers", path)
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("servers", loader))
    loader.exec_module(module)
    return module


class Server:
    """Runs in `folder`, as long as this process does."""

    def __init__(self, folder, major):
        servers = tests_servers()
        development = servers.install([major])
        self.clients = servers.client_binaries(development)
        self.binaries = servers.server_binaries(development, major)
        self.servers, self.home = servers, os.path.join(folder, f"server-{major}")
        self.data = os.path.join(self.home, "data")
        self.port = str(servers.free_port())
        if not os.path.exists(os.path.join(self.data, "PG_VERSION")):
            self.make()
        self.process = self.start()
        os.environ.update(PGHOST=self.home, PGPORT=self.port, PGUSER="postgres",
                          PATH=self.clients + os.pathsep + os.environ["PATH"])

    def make(self):
        shutil.rmtree(self.home, ignore_errors=True)
        os.makedirs(self.home)
        user = self.servers.server_user()
        if user:
            os.chown(self.home, user.pw_uid, user.pw_gid)
        subprocess.run(self.servers.as_server_user(
            os.path.join(self.binaries, "initdb"), "-D", self.data, "-U", "postgres", "-A", "trust",
            "-E", "UTF8", "--locale=C", "-N"), check=True, stdout=subprocess.DEVNULL)

    def start(self):
        options = [f"--{name}={value}" for name, value in SETTINGS.items()]
        log = open(os.path.join(self.home, "log"), "w")  # the server's own from now on
        process = subprocess.Popen(self.servers.as_server_user(
            os.path.join(self.binaries, "postgres"), "-D", self.data, f"--port={self.port}",
            f"--unix_socket_directories={self.home}", *options), stdout=log, stderr=log)
        ready = [os.path.join(self.clients, "pg_isready"), "-q", "-h", self.home, "-p", self.port]
        while subprocess.run(ready, check=False).returncode != 0:
            if process.poll() is not None:
                raise SystemExit(f"the server did not start, see {log.name}")
            time.sleep(0.1)
        return process

    @property
    def postmaster(self):
        return self.process.pid

    def stop(self):
        """In good order, so that its data can be used again."""
        self.process.send_signal(signal.SIGINT)
        self.process.wait(STOP_SECONDS)

    def remove(self):
        self.stop()
        shutil.rmtree(self.home)

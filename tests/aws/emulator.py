"""AWS for the tests: a third-party emulator of its control plane, with functions in sandboxes like Lambda's.

`make test-aws` creates an environment with the emulator, AWS' own emulator of the runtime's interface, and AWS' runtime client.
Environment variables name other places.
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
import urllib.request
from pathlib import Path

from sandbox.front import Front

ROOT = Path(__file__).parents[2]
HOME = Path(os.environ.get("SERVERLESS_MP_TEST_EMULATOR", ROOT / ".venv-emulator"))
WHEELS = Path(os.environ.get("SERVERLESS_MP_TEST_WHEELS", ROOT / ".venv" / "dist"))
PROGRAMS = Path(__file__).parent / "programs"
# The interpreter in a sandbox.
INTERPRETER = f"/var/lang/bin/python{sys.version_info.major}.{sys.version_info.minor}"
REGION = "eu-central-1"


def wheel() -> str:
    """Returns the path of the wheel that `make` has built."""
    return str(max(WHEELS.glob("serverless_mp-*.whl"), key=lambda path: path.stat().st_mtime))


def _free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Emulator:
    """One emulator, with a directory for everything that it writes."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.folder = folder
        port = _free_port()
        self.control_plane = f"http://127.0.0.1:{port}"
        keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
        # The environment is clean, since the functions inherit it.
        clean = {"PATH": f"{HOME}/bin:/usr/bin:/bin", "HOME": str(folder), "TMPDIR": str(folder), "GATEWAY_PORT": str(port)}
        clean |= {"BIND_HOST": "127.0.0.1", "MINISTACK_HOST": "127.0.0.1", "AWS_DEFAULT_REGION": REGION}
        self.log = open(folder / "log", "wb")
        self.process = subprocess.Popen(
            [HOME / "bin" / "ministack"],
            env=clean | keys | settings,
            cwd=folder,
            stdout=self.log,
            stderr=self.log,
            process_group=0,
        )
        self._wait()
        self.front = Front(self.control_plane, HOME / "aws-lambda-rie", HOME / "runtime", REGION)
        self.url = self.front.url
        self.env = keys | {"AWS_ENDPOINT_URL": self.url, "AWS_REGION": REGION, "AWS_DEFAULT_REGION": REGION}

    def _wait(self) -> None:
        last = time.monotonic() + 90
        while time.monotonic() < last and self.process.poll() is None:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{self.control_plane}/_ministack/health", timeout=5):
                return
            time.sleep(0.1)
        raise RuntimeError(f"the emulator did not start: {(self.folder / 'log').read_text()}")

    def kill(self) -> None:
        """Kills the emulator and every environment of its functions, as when a machine is switched off."""
        self.front.close()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(15)
        self.kill()
        self.log.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def client(self, service: str):
        import boto3

        return boto3.session.Session(region_name=REGION).client(
            service, endpoint_url=self.url, aws_access_key_id="test", aws_secret_access_key="test"
        )

    def command(self, *arguments, timeout=100, env=None, **options):
        """Runs `serverless-mp ...` with this emulator as AWS."""
        command = [sys.executable, "-m", "serverless_mp.cli", *map(str, arguments)]
        options = {"capture_output": True, "text": True, "check": False} | options
        return subprocess.run(command, timeout=timeout, env={**os.environ, **self.env, **(env or {})}, **options)

    def deploy(self, function: str, *options, kind="custom", **more):
        """Deploys a function: `managed` is a Python runtime with a layer, `custom` AWS' own client and one package."""
        if kind == "custom":
            options = (*options, "--runtime", "provided.al2023", "--interpreter", INTERPRETER)
        # The sandbox has this machine's C library. It cannot reach Lambda's API: the program launches processes of processes.
        return self.command("deploy", "--function", function, "--wheel", wheel(), "--glibc", "2.36", *options, **more)

    def run(self, function: str, *arguments, **options):
        """Runs a program whose processes run in the function."""
        return self.command("run", "--on", "lambda", "--function", function, *arguments, **options)

    def popen(self, function: str, *arguments, env=None, **options):
        """Starts such a program, with pipes to its standard streams."""
        command = [
            sys.executable,
            "-m",
            "serverless_mp.cli",
            "run",
            "--on",
            "lambda",
            "--function",
            function,
            *map(str, arguments),
        ]
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        return subprocess.Popen(command, env={**os.environ, **self.env, **(env or {})}, text=True, **(pipes | options))

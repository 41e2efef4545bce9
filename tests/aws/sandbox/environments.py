"""Environments of functions, each in a namespace like AWS Lambda's, with AWS' own emulator of the runtime's interface.

An environment runs one invocation at a time, and is stopped between two invocations. The next invocation of the same revision
of its function finds it warm.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
import zipfile
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sandbox.images import Image

HERE = Path(__file__).parent
# A variable of every process in an environment, by which these processes are found.
MARK = "SERVERLESS_MP_TEST_ENVIRONMENT"
STARTED = 20.0


def possible() -> bool:
    """Whether this user may create namespaces on this machine."""
    done = subprocess.run(["unshare", "--user", "--map-root-user", "--mount", "true"], check=False, capture_output=True)
    return done.returncode == 0


@dataclass
class Function:
    """One revision of a function, unpacked."""

    name: str
    task: Path
    layers: Path
    handler: str
    timeout: int
    memory: int
    variables: dict[str, str]
    is_custom: bool

    @classmethod
    def unpack(cls, configuration: dict, code: bytes, layers: list[bytes], folder: Path) -> Function:
        """Unpacks a function's code and layers into a folder."""
        task, merged = folder / "task", folder / "layers"
        for place, archives in ((task, [code]), (merged, layers)):
            place.mkdir(parents=True)
            for archive in archives:
                _unpack(archive, place)
        return cls(
            name=configuration["FunctionName"],
            task=task,
            layers=merged,
            handler=configuration["Handler"],
            timeout=configuration["Timeout"],
            memory=configuration["MemorySize"],
            variables=configuration.get("Environment", {}).get("Variables", {}),
            is_custom=configuration["Runtime"].startswith("provided"),
        )

    @classmethod
    def of_image(cls, configuration: dict, image: Image, folder: Path) -> Function:
        """Unpacks a function that is an image; the sandbox's own files replace those of the base image."""
        image.unpack(folder)
        (folder / "opt").mkdir(exist_ok=True)
        return cls(
            name=configuration["FunctionName"],
            task=folder / "var" / "task",
            layers=folder / "opt",
            handler=next(iter(image.config["Cmd"]), "serverless_mp_index.handler"),
            timeout=configuration["Timeout"],
            memory=configuration["MemorySize"],
            variables=configuration.get("Environment", {}).get("Variables", {}),
            is_custom=image.config["Entrypoint"] == ["/var/task/bootstrap"],
        )


def _unpack(archive: bytes, place: Path) -> None:
    with zipfile.ZipFile(BytesIO(archive)) as found:
        for info in found.infolist():
            path = Path(found.extract(info, place))
            mode = info.external_attr >> 16 & 0o777
            if mode and not info.is_dir():
                path.chmod(mode)


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


class Environment:
    """One environment of a function."""

    def __init__(self, function: Function, emulator: Path, runtime: Path, region: str) -> None:
        self.function = function
        self.folder = Path(tempfile.mkdtemp(prefix="smp-environment-"))
        self.port, api_port = _free_ports(2)
        (self.folder / "root").mkdir()
        language = sys.base_prefix
        python = f"/var/lang/bin/python{sys.version_info.major}.{sys.version_info.minor}"
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        variables = {
            "PATH": "/var/lang/bin:/usr/local/bin:/usr/bin/:/bin:/opt/bin",
            "LD_LIBRARY_PATH": "/var/lang/lib:/lib64:/usr/lib64:/var/runtime:/var/runtime/lib:/var/task:/var/task/lib:/opt/lib",
            "LANG": "en_US.UTF-8",
            "TZ": ":UTC",
            "LAMBDA_TASK_ROOT": "/var/task",
            "LAMBDA_RUNTIME_DIR": "/var/runtime",
            "_HANDLER": function.handler,
            "AWS_REGION": region,
            "AWS_DEFAULT_REGION": region,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_SESSION_TOKEN": "token",
            "AWS_EXECUTION_ENV": f"AWS_Lambda_{version}",
            "AWS_LAMBDA_FUNCTION_NAME": function.name,
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory),
            "AWS_LAMBDA_FUNCTION_TIMEOUT": str(function.timeout),
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
            MARK: str(self.folder),
            **function.variables,
        }
        wrapper = function.variables.get("AWS_LAMBDA_EXEC_WRAPPER")
        command = ["/var/task/bootstrap"]
        if not function.is_custom:
            variables["PYTHONPATH"] = "/var/runtime"
            command = [*([wrapper] if wrapper else []), python, "/var/runtime/bootstrap.py"]
        emulated = ["/var/rapid/rie", "--log-level", "info"]
        emulated += ["--runtime-interface-emulator-address", f"127.0.0.1:{self.port}"]
        emulated += ["--runtime-api-address", f"127.0.0.1:{api_port}"]
        self.log_path = self.folder / "log"
        self._read = 0
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(
                [
                    *("unshare", "--user", "--map-root-user", "--mount", str(HERE / "environment.sh")),
                    *(f"{name}={value}" for name, value in variables.items()),
                    *emulated,
                    *command,
                ],
                env={
                    "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
                    "PLACE": str(self.folder / "root"),
                    "LANGUAGE": language,
                    "RUNTIME": str(runtime),
                    "TASK": str(function.task),
                    "LAYERS": str(function.layers),
                    "RIE": str(emulator),
                    MARK: str(self.folder),
                },
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._wait()

    def _wait(self) -> None:
        last = time.monotonic() + STARTED
        while time.monotonic() < last and self.process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 0.5):
                return
            time.sleep(0.02)
        raise RuntimeError(f"the environment did not start: {self.log_path.read_text(errors='replace')}")

    def invoke(self, body: bytes) -> tuple[int, bytes]:
        """Invokes the function once; returns the status and the answer of the emulator."""
        self._signal(signal.SIGCONT)
        url = f"http://127.0.0.1:{self.port}/2015-03-31/functions/function/invocations"
        request = urllib.request.Request(url, data=body, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=self.function.timeout + 30) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as e:
            return e.code, e.read()

    def freeze(self) -> None:
        """Stops all its processes, as Lambda does between two invocations."""
        self._signal(signal.SIGSTOP)

    def new_lines(self) -> list[str]:
        """Returns the lines that were logged since the last call."""
        with open(self.log_path, "rb") as log:
            log.seek(self._read)
            text = log.read()
        end = text.rfind(b"\n") + 1
        self._read += end
        return text[:end].decode(errors="replace").splitlines()

    def pids(self) -> list[int]:
        """Returns all its processes, in every session."""
        found = []
        wanted = f"{MARK}={self.folder}".encode()
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    if wanted in (entry / "environ").read_bytes().split(b"\0"):
                        found.append(int(entry.name))
        return found

    def temporary(self, pattern: str) -> list[Path]:
        """Returns files in its /tmp."""
        for pid in self.pids():
            with contextlib.suppress(OSError):
                root = Path(f"/proc/{pid}/root/tmp")
                if root.stat().st_dev != Path("/tmp").stat().st_dev:
                    return list(root.glob(pattern))
        return []

    def _signal(self, number: int) -> None:
        seen: set[int] = set()
        while new := set(self.pids()) - seen:
            for pid in new:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, number)
            seen |= new

    def end(self) -> None:
        """Ends the environment and all its processes, none of which sees the end of another: as when a machine is switched off."""
        self.freeze()
        self._signal(signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


class Environments:
    """The environments of all functions. Warm ones are reused."""

    def __init__(self, emulator: Path, runtime: Path, region: str) -> None:
        self.emulator, self.runtime, self.region = emulator, runtime, region
        self._lock = threading.Lock()
        self._warm: dict[str, list[Environment]] = {}
        self._all: set[Environment] = set()
        self.is_closed = False

    def invoke(self, revision: str, function: Function, body: bytes) -> tuple[int, bytes, list[str]]:
        """Invokes in a warm environment of this revision, or in a new one; returns the status, the answer and the log lines."""
        with self._lock:
            warm = self._warm.get(revision)
            environment = warm.pop() if warm else None
        if environment is None:
            environment = Environment(function, self.emulator, self.runtime, self.region)
            with self._lock:
                self._all.add(environment)
        try:
            status, answer = environment.invoke(body)
        except OSError as e:
            status, answer = 500, str(e).encode()
        lines = environment.new_lines()
        is_over = b"Task timed out" in answer or status >= 500 or environment.process.poll() is not None
        if is_over or self.is_closed:
            self._end(environment)
        else:
            environment.freeze()
            with self._lock:
                self._warm.setdefault(revision, []).append(environment)
        return status, answer, lines

    def _end(self, environment: Environment) -> None:
        with self._lock:
            self._all.discard(environment)
        environment.end()

    def temporary(self, pattern: str) -> list[Path]:
        """Returns files in the /tmp of all environments."""
        with self._lock:
            there = list(self._all)
        return [path for environment in there for path in environment.temporary(pattern)]

    def pids(self) -> list[int]:
        """Returns the processes in all environments."""
        with self._lock:
            there = list(self._all)
        return [pid for environment in there for pid in environment.pids()]

    def close(self) -> None:
        """Ends all environments."""
        self.is_closed = True
        with self._lock:
            ended, self._all = self._all, set()
            self._warm.clear()
        for environment in ended:
            environment.end()


def outcome(status: int, answer: bytes) -> tuple[bytes, bool]:
    """Returns the payload of Lambda's answer, and whether it is an error of the function."""
    if b"Task timed out" in answer:
        with contextlib.suppress(ValueError):
            return answer if isinstance(json.loads(answer), dict) else answer, True
        return json.dumps({"errorType": "Sandbox.Timedout", "errorMessage": answer.decode()}).encode(), True
    with contextlib.suppress(ValueError):
        found = json.loads(answer)
        if isinstance(found, dict) and ("errorType" in found or "errorMessage" in found):
            return answer, True
        return answer, status >= 500
    return json.dumps({"errorType": "Runtime.ExitError", "errorMessage": answer.decode(errors="replace")}).encode(), True

"""AWS for the tests: an emulator of its control plane, whose functions run in sandboxes.

It forwards every request except invocations to the emulator behind it. For an invocation it fetches the function's code and
layers from there, as Lambda does.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import itertools
import json
import queue
import re
import shutil
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from sandbox.environments import Environments, Function, outcome
from sandbox.images import Image

INVOCATION = re.compile(r"^/2015-03-31/functions/([^/]+)/invocations(?:\?.*)?$")
HOP = {"connection", "transfer-encoding", "content-length", "keep-alive"}
REGISTRY = re.compile(rb"\d+\.dkr\.ecr\.[\w-]+\.amazonaws\.com")
IP_ADDRESS = re.compile(rb"<ipAddress>[\d.]+</ipAddress>")
MACHINE, STAND_IN = b"AWS%3A%3AEC2%3A%3AInstance%0A", b"AWS%3A%3ACloudFormation%3A%3AWaitConditionHandle%0A"
# Log lines of the runtime interface emulator itself.
OF_EMULATOR = re.compile(r"^\d\d \w{3} \d{4} [\d:,]+ \[\w+\] \(rapid\)")
LOG_TAIL = 4096


@dataclass
class Rule:
    """An answer of AWS that the emulator does not give: an error for some calls, or other fields in a configuration."""

    method: str
    path: str
    times: int = 1
    status: int = 0
    kind: str = ""
    message: str = ""
    fields: dict = field(default_factory=dict)

    def takes(self, method: str, path: str) -> bool:
        """Whether the rule applies to this call; counts the call if so."""
        is_one = self.times > 0 and method == self.method and re.search(self.path, path) is not None
        self.times -= is_one
        return is_one


class Front:
    """The server in front of the emulator, on a port of its own."""

    def __init__(self, behind: str, emulator: Path, runtime: Path, region: str) -> None:
        self.behind, self.region = behind, region
        self.environments = Environments(emulator, runtime, region)
        self.folder = Path(tempfile.mkdtemp(prefix="smp-functions-"))
        self._functions: dict[str, Function] = {}
        self._lock = threading.Lock()
        self._busy: Counter[str] = Counter()
        self._streams = itertools.count()
        self.rules: list[Rule] = []
        # The user data of machines that were started; and the address that EC2's answers give for them.
        self.user_data: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.address = "127.0.0.1"
        # The registry that replaces ECR's, and its login.
        self.registry, self.login = "", ""
        # Actions of EC2 and STS that are refused, with the code of the error; with None the answer is an empty list.
        self.refusals: dict[str, str | None] = {}
        handler = type("Handler", (_Handler,), {"front": self})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Ends every environment."""
        self.server.shutdown()
        self.server.server_close()
        self.environments.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    # ---- what the emulator knows -----------------------------------------------------------------------------

    def _ask(self, service: str, path: str, data: bytes | None = None, **headers: str) -> bytes:
        # The emulator takes the region from the signature, and does not check the signature.
        signed = (
            f"AWS4-HMAC-SHA256 Credential=test/20260101/{self.region}/{service}/aws4_request, SignedHeaders=host, Signature=0"
        )
        headers = {name.replace("_", "-"): value for name, value in headers.items()} | {"Authorization": signed}
        request = urllib.request.Request(f"{self.behind}{path}", data=data, headers=headers)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.read()

    def _get(self, path: str) -> dict:
        return json.loads(self._ask("lambda", path))

    def _fetch(self, location: str) -> bytes:
        parts = urllib.parse.urlsplit(location)
        return self._ask("s3", f"{parts.path}?{parts.query}")

    def _function(self, name: str) -> tuple[str, Function]:
        found = self._get(f"/2015-03-31/functions/{name}")
        configuration = found["Configuration"]
        layers = [layer["Arn"] for layer in configuration.get("Layers", [])]
        parts = [configuration[key] for key in ("FunctionArn", "CodeSha256", "Timeout", "MemorySize", "Handler", "Runtime")]
        image = found["Code"].get("ImageUri")
        revision = json.dumps([*parts, image, layers, configuration.get("Environment", {})], sort_keys=True)
        with self._lock:
            if revision not in self._functions:
                archives = []
                for arn in layers:
                    layer = self._get(f"/2018-10-31/layers?find=LayerVersion&Arn={urllib.parse.quote(arn, safe='')}")
                    archives.append(self._fetch(layer["Content"]["Location"]))
                folder = Path(tempfile.mkdtemp(dir=self.folder))
                if image is not None:
                    self._functions[revision] = Function.of_image(configuration, Image.pull(image, self.login), folder)
                else:
                    code = self._fetch(found["Code"]["Location"])
                    self._functions[revision] = Function.unpack(configuration, code, archives, folder)
            return revision, self._functions[revision]

    def _reserved(self, name: str) -> int | None:
        with contextlib.suppress(urllib.error.HTTPError):
            return self._get(f"/2019-09-30/functions/{name}/concurrency").get("ReservedConcurrentExecutions")
        return None

    # ---- invocations -----------------------------------------------------------------------------------------

    def invoke(self, name: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
        """Invokes a function; returns the status, headers and payload of Lambda's answer."""
        name = urllib.parse.unquote(name).rpartition("function:")[2].partition(":")[0]
        try:
            revision, function = self._function(name)
        except urllib.error.HTTPError as e:
            return e.code, {"X-Amzn-ErrorType": e.headers.get("X-Amzn-ErrorType", "")}, e.read()
        reserved = self._reserved(name)
        with self._lock:
            if reserved is not None and self._busy[name] >= reserved:
                refused = {"Reason": "ReservedFunctionConcurrentInvocationLimitExceeded", "message": "Rate Exceeded."}
                return 429, {"X-Amzn-ErrorType": "TooManyRequestsException"}, json.dumps(refused).encode()
            self._busy[name] += 1
        try:
            status, answer, lines = self.environments.invoke(revision, function, body)
        finally:
            with self._lock:
                self._busy[name] -= 1
        self._log(name, [line for line in lines if not OF_EMULATOR.match(line)])
        payload, is_error = outcome(status, answer)
        headers = {"X-Amz-Executed-Version": "$LATEST"}
        if is_error:
            headers["X-Amz-Function-Error"] = "Unhandled"
        headers["X-Amz-Log-Result"] = base64.b64encode("\n".join(lines).encode()[-LOG_TAIL:]).decode()
        return 200, headers, payload

    def _log(self, name: str, lines: list[str]) -> None:
        group, stream = f"/aws/lambda/{name}", f"stream-{next(self._streams)}"
        moment = int(time.time() * 1000)
        events = [{"timestamp": moment, "message": line} for line in lines if line]
        for action, request in (
            ("CreateLogGroup", {"logGroupName": group}),
            ("CreateLogStream", {"logGroupName": group, "logStreamName": stream}),
            ("PutLogEvents", {"logGroupName": group, "logStreamName": stream, "logEvents": events}),
        ):
            target = f"Logs_20140328.{action}"
            with contextlib.suppress(urllib.error.HTTPError):  # the group exists
                self._ask(
                    "logs", "/", json.dumps(request).encode(), X_Amz_Target=target, Content_Type="application/x-amz-json-1.1"
                )


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    front: Front

    def log_message(self, *_):
        pass

    def _serve(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        invocation = INVOCATION.match(self.path)
        if self.command == "POST" and invocation:
            status, headers, answer = self.front.invoke(invocation[1], body)
            return self._answer(status, headers | {"Content-Type": "application/json"}, answer)
        rule = next((rule for rule in self.front.rules if rule.takes(self.command, self.path)), None)
        if rule is not None and rule.status:
            said = json.dumps({"Type": "User", "message": rule.message}).encode()
            return self._answer(rule.status, {"X-Amzn-ErrorType": rule.kind, "Content-Type": "application/json"}, said)
        if self.path.startswith("/federation/credentials"):  # a request of SSO, which the emulator does not know
            keys = {"accessKeyId": "test", "secretAccessKey": "test", "sessionToken": "token", "expiration": 4102444800000}
            return self._answer(200, {"Content-Type": "application/json"}, json.dumps({"roleCredentials": keys}).encode())
        action = urllib.parse.parse_qs(body.decode(errors="replace")).get("Action", [""])[0]
        if action in self.front.refusals:
            return self._refuse(action, self.front.refusals[action])
        if action == "CreateStack":  # the emulator knows neither machines nor images in a stack: replace them
            body = body.replace(MACHINE, STAND_IN).replace(b"resolve%3Assm%3A", b"")
        behind = http.client.HTTPConnection(urllib.parse.urlsplit(self.front.behind).netloc, timeout=120)
        headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP}
        behind.request(self.command, self.path, body or None, headers)
        found = behind.getresponse()
        answer = found.read()
        headers = {name: value for name, value in found.getheaders() if name.lower() not in HOP}
        behind.close()
        if action == "RunInstances":
            asked = urllib.parse.parse_qs(body.decode())
            self.front.user_data.put(base64.b64decode(asked["UserData"][0]).decode())
        if self.front.registry:
            answer = REGISTRY.sub(self.front.registry.encode(), answer)
        answer = IP_ADDRESS.sub(f"<ipAddress>{self.front.address}</ipAddress>".encode(), answer)
        if rule is not None and found.status < 300:
            body = json.loads(answer)
            body.get("Configuration", body).update(rule.fields)
            answer = json.dumps(body).encode()
        return self._answer(found.status, headers, answer)

    def _refuse(self, action, code):
        answer = f"<{action}Response><vpcSet/></{action}Response>"
        if code:
            error = f"<Error><Code>{code}</Code><Message>refused by the test</Message></Error>"
            if action == "GetCallerIdentity":  # an error of STS; the others are of EC2
                answer = f"<ErrorResponse>{error}<RequestId>1</RequestId></ErrorResponse>"
            else:
                answer = f"<Response><Errors>{error}</Errors><RequestID>1</RequestID></Response>"
        self._answer(400 if code else 200, {"Content-Type": "text/xml"}, answer.encode())

    def _answer(self, status, headers, answer):
        if self.front.environments.is_closed:  # connections break, as when a machine is switched off
            self.close_connection = True
            return
        with contextlib.suppress(ConnectionError):  # its client has gone
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer)

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = do_PATCH = _serve

"""Processes that fail: the exit code that the program sees, and the message that its user sees."""

from __future__ import annotations

import io
import json
import re
import signal
import subprocess
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from emulator import INTERPRETER, PROGRAMS, Emulator

import stores

ENDS = PROGRAMS / "ends.py"
BOOTSTRAP = (
    f"#!/bin/sh\nexport PYTHONPATH=/var/task:/var/runtime\nexec {INTERPRETER} -m awslambdaric serverless_mp_index.handler\n"
)


def code(done):
    return int(re.search(r"code (-?\d+)", done.stdout)[1])


def words(done):
    """Returns the messages about the process, without its id."""
    lines = [line for line in done.stderr.splitlines() if line.startswith("serverless-mp: process")]
    return [re.sub(r"^serverless-mp: process \d+: ", "", line) for line in lines]


@pytest.mark.parametrize(
    ("how", "expected"), [("raises", 1), ("os_exit", 3), ("sys_exit", 4), ("killed", -9), ("crashes", -11), ("nothing", 0)]
)
def test_the_process_ends(aws, function, how, expected):
    done = aws.run(function, ENDS, how)
    assert (code(done), words(done)) == (expected, [])
    assert ("ValueError: boom" in done.stderr) == (how == "raises")


@pytest.mark.parametrize(("call", "expected"), [("terminate", -15), ("kill", -9)])
def test_the_program_ends_it(aws, function, call, expected):
    with aws.popen(function, ENDS, "too_long", call) as program:
        assert program.stdout.readline() == "running\n"
        program.stdin.write("now\n")
        program.stdin.close()
        assert program.stdout.read().endswith(f"code {expected}\n")


@pytest.mark.parametrize(("call", "expected"), [("terminate", -15), ("kill", -9)])
def test_the_program_ends_it_before_it_begins(aws, service, call, expected):
    """No worker is available, and the process still ends at once."""
    service.answers = {"GET": (200, "", DESCRIPTION), "POST": (429, "TooManyRequestsException", {"message": "Rate exceeded"})}
    done = aws.run(
        "f", ENDS, "too_long", call, input="now\n", env={"AWS_ENDPOINT_URL": f"http://127.0.0.1:{service.server_port}"}
    )
    assert (code(done), words(done)) == (expected, [])


def test_interrupt(aws, custom):
    """Ctrl-C ends both a program that waits for a process, and the process."""
    with aws.popen(custom, PROGRAMS / "lives.py", process_group=0) as program:
        pid = int(program.stdout.readline())
        program.send_signal(signal.SIGINT)
        assert program.wait(30) == -signal.SIGINT
        assert program.stderr.read().count("KeyboardInterrupt") == 2  # in the program and in the process
    gone(pid)


def gone(pid):
    """Waits for the end of a process that is not a child of this one."""
    subprocess.run(["tail", f"--pid={pid}", "-f", "/dev/null"], check=True, timeout=60)


def test_time_limit(aws):
    assert aws.deploy("tests-3s", "--timeout", 3).returncode == 0
    done = aws.run("tests-3s", ENDS, "too_long")
    assert code(done) == 124
    assert words(done) == [
        "it reached the time limit of function tests-3s, 3 s; raise it (`serverless-mp deploy --timeout`, 900 s at most) or split the work"
    ]


# ---- the function itself fails ---------------------------------------------------------------------------------

HANDLERS = {
    "raise ValueError('boom')": (70, "function {f} failed: ValueError: boom; see `serverless-mp logs`"),
    "import os; os._exit(3)": (
        70,
        "function {f} ended before its processes did: RequestId: … Error: Runtime exited with error: exit status 3; see `serverless-mp logs`",
    ),
    "import time; time.sleep(9)": (
        124,
        "function {f} reached its time limit: … Task timed out after 3.00 seconds; raise it (`serverless-mp deploy --timeout`, 900 s at "
        "most) or split the work",
    ),
    "return {'other': 1}": (
        78,
        'function {f} does not run our handler: it answered {{"other": 1}}; deploy it with `serverless-mp deploy`',
    ),
}


@pytest.mark.parametrize("body", HANDLERS)
def test_the_function_fails(aws, body):
    """The function has a handler that is not ours, with AWS' own runtime client."""
    name, client = "tests-other", aws.client("lambda")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        info = zipfile.ZipInfo("bootstrap")
        info.external_attr = 0o755 << 16
        archive.writestr(info, BOOTSTRAP)
        archive.writestr("serverless_mp_index.py", f"def handler(event, context):\n    {body}\n")
    client.create_function(
        FunctionName=name, Runtime="provided.al2023", Role="arn:aws:iam::000000000000:role/any", Timeout=3,
        Handler="serverless_mp_index.handler", Code={"ZipFile": buffer.getvalue()},
    )  # fmt: skip
    try:
        done = aws.run(name, ENDS, "nothing")
    finally:
        client.delete_function(FunctionName=name)
    expected, message = HANDLERS[body]
    assert code(done) == expected
    assert len(words(done)) == 1
    said = re.sub(r"(RequestId: )?[0-9a-f-]{36}|\d{4}-\d\d-\d\dT\S+ …", "RequestId: …", words(done)[0])
    assert re.sub(r"reached its time limit: .*Task", "reached its time limit: … Task", said) == message.format(f=name)


def test_the_function_goes(aws):
    """The function is deleted while the program runs."""
    assert aws.deploy("tests-goes", "--timeout", 60).returncode == 0
    program = PROGRAMS / "twice.py"
    with aws.popen("tests-goes", program) as running:
        assert running.stdout.readline() == "code 0\n"
        aws.client("lambda").delete_function(FunctionName="tests-goes")
        running.stdin.write("again\n")
        running.stdin.close()
        assert running.stdout.readline() == "code 78\n"
        text = running.stderr.read()
    assert (
        "there is no function tests-goes in this region and account: deploy it with `serverless-mp deploy`, or name another"
        in text
    )


class Answers(BaseHTTPRequestHandler):
    """A stub of Lambda's API that gives fixed answers."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self._answer(*self.server.answers["POST"])

    def do_GET(self):
        self._answer(*self.server.answers["GET"])

    def _answer(self, status, kind, body):
        data = json.dumps(body).encode()
        self.send_response(status)
        if kind:
            self.send_header("x-amz-function-error" if status == 200 else "x-amzn-errortype", kind)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


@pytest.fixture
def service():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


DESCRIPTION = {"FunctionName": "f", "MemorySize": 128, "Timeout": 3, "State": "Active", "Architectures": ["x86_64"]}


def test_wrong_credentials(aws, service):
    refusal = (403, "UnrecognizedClientException", {"message": "The security token included in the request is invalid."})
    service.answers = {"GET": refusal}
    done = aws.run("f", ENDS, "nothing", env={"AWS_ENDPOINT_URL": f"http://127.0.0.1:{service.server_port}"})
    assert done.returncode == 1
    assert (
        "RuntimeError: AWS refuses these credentials for function f: UnrecognizedClientException: The security token included "
        "in the request is invalid.; they need lambda:InvokeFunction and lambda:GetFunctionConfiguration on it" in done.stderr
    )


def test_access_denied_to_invoke(aws, service):
    service.answers = {
        "GET": (200, "", DESCRIPTION),
        "POST": (403, "AccessDeniedException", {"Message": "not authorized to perform: lambda:InvokeFunction"}),
    }
    done = aws.run("f", ENDS, "nothing", env={"AWS_ENDPOINT_URL": f"http://127.0.0.1:{service.server_port}"})
    assert code(done) == 77
    assert "AWS refuses these credentials for function f" in words(done)[0]


def test_throttled_for_good(aws, service):
    service.answers = {"GET": (200, "", DESCRIPTION), "POST": (429, "TooManyRequestsException", {"message": "Rate exceeded"})}
    env = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{service.server_port}", "SERVERLESS_MP_START_TIMEOUT": "1"}
    done = aws.run("f", ENDS, "nothing", env=env)
    assert code(done) == 69
    assert words(done) == [
        "function f could not be invoked for 1 s: 429 TooManyRequestsException: Rate exceeded; raise the concurrency of the "
        "function or the account, start fewer processes (SERVERLESS_MP_WORKERS), or wait longer (SERVERLESS_MP_START_TIMEOUT)"
    ]


def test_answer_without_having_begun(aws, service):
    service.answers = {
        "GET": (200, "", DESCRIPTION),
        "POST": (200, "", {"serverless_mp": {"taken": []}}),
    }
    done = aws.run("f", ENDS, "nothing", env={"AWS_ENDPOINT_URL": f"http://127.0.0.1:{service.server_port}"})
    assert code(done) == 255
    assert words(done) == ["function f answered without having begun it; `serverless-mp doctor` may say what does not fit"]


@pytest.mark.parametrize(
    ("body", "expected", "message"),
    [
        (
            {
                "errorType": "Runtime.OutOfMemory",
                "errorMessage": "RequestId: 1 Error: Runtime exited with error: signal: killed",
            },
            -9,
            "function f ran out of memory: RequestId: 1 Error: Runtime exited with error: signal: killed; raise it (`serverless-mp deploy "
            "--memory`)",
        ),
        (
            {"errorType": "Runtime.ExitError", "errorMessage": "RequestId: 1 Error: Runtime exited with error: exit status 3"},
            70,
            "function f ended before its processes did: RequestId: 1 Error: Runtime exited with error: exit status 3; see "
            "`serverless-mp logs`",
        ),
        (
            {
                "errorType": "Runtime.ImportModuleError",
                "errorMessage": "Unable to import module 'serverless_mp_index': No module named 'x'",
            },
            78,
            "function f cannot load our handler: Unable to import module 'serverless_mp_index': No module named 'x'; is the layer there? "
            "`serverless-mp deploy` puts it there",
        ),
    ],
)
def test_what_only_aws_says(aws, service, body, expected, message):
    """Answers that AWS documents and the emulator does not give."""
    service.answers = {"GET": (200, "", DESCRIPTION), "POST": (200, "Unhandled", body)}
    done = aws.run("f", ENDS, "nothing", env={"AWS_ENDPOINT_URL": f"http://127.0.0.1:{service.server_port}"})
    assert (code(done), words(done)) == (expected, [message])


# ---- the surroundings fail -------------------------------------------------------------------------------------


def test_import_error_of_the_program(aws, custom):
    done = aws.run(custom, PROGRAMS / "imports.py")
    assert code(done) == 1
    assert "ModuleNotFoundError: No module named 'only_at_home'" in done.stderr
    assert "serverless_mp: the worker looked for module 'only_at_home' in [" in done.stderr


def test_pool_whose_workers_cannot_begin(aws, custom):
    """The pool fails instead of starting workers for ever, and so does every later task."""
    done = aws.run(custom, PROGRAMS / "hopeless.py")
    lines = done.stdout.splitlines()
    message = "workers in a row ended before they had done anything, the last with exit code 1"
    assert [message in line for line in lines] == [True, True, True]


def test_store_out_of_reach_of_the_function(aws, custom, tmp_path):
    """The store's address is relative to a process' working directory, so it means another place to the function."""
    with stores.server(tmp_path, "--unixsocket", "s", password=None):
        env = {"SERVERLESS_MP_REDIS_URL": "redis+unix:///proc/self/cwd/s"}
        done = aws.run(custom, ENDS, "nothing", env=env, cwd=tmp_path)
    assert code(done) == 69
    assert len(words(done)) == 1
    assert words(done)[0].startswith(f"function {custom}: it cannot reach the store redis+unix:///proc/self/cwd/s: ")
    assert words(done)[0].endswith(
        "put the function into the store's VPC (`serverless-mp deploy --subnets --security-groups`) and let its security group in"
    )


def test_emulator_stops(tmp_path_factory):
    """The connection breaks, and the worker disappears with its machine."""
    emulator = Emulator(tmp_path_factory.mktemp("stops"))
    try:
        assert emulator.deploy("tests-stops").returncode == 0
        with emulator.popen("tests-stops", PROGRAMS / "talk.py") as program:
            assert program.stdout.readline() == "out 0\n"
            emulator.kill()
            for _ in range(3):
                program.stdin.write("go on\n")
            program.stdin.close()
            assert program.stdout.read() == " code 255\n"
            assert (
                "its connection to function tests-stops broke, and its worker's lease has ended; `serverless-mp logs` may say why"
                in program.stderr.read()
            )
    finally:
        emulator.stop()


def test_killed_program_leaves_no_worker(aws, custom):
    """The worker ends by itself after its program's lease has ended."""
    with aws.popen(custom, PROGRAMS / "lives.py") as program:
        pid = int(program.stdout.readline())
        program.kill()
        program.wait()
    gone(pid)
    # The environment is not broken: it runs the next processes.
    for _ in range(3):
        assert code(aws.run(custom, ENDS, "sys_exit")) == 4

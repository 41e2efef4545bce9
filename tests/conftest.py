"""The store that the tests run on, and the two contexts that they compare.

`SERVERLESS_MP_TEST_STORE` is `private` (default), `redis` (redis-server on TCP with a password), or `cluster` (three nodes). A
test that takes `mp` runs twice, with the same assertions: on CPython's spawn context and on ours.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys

import pytest

import stores
from places import STORE

# Some of the programs contain tests.
collect_ignore = ["programs"]

# A shell starts background jobs with SIGINT ignored, and the tests' programs would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def store(tmp_path_factory):
    """Sets the store's URL in the environment, for this process and its children."""
    with stores.started(STORE, tmp_path_factory.mktemp("store")) as url:
        if url is not None:
            os.environ["SERVERLESS_MP_REDIS_URL"] = url
        yield url


@pytest.fixture(params=["stdlib", "serverless"])
def mp(request):
    """A spawn context: once CPython's, once ours."""
    if request.param == "stdlib":
        return multiprocessing.get_context("spawn")
    return ours()


@pytest.fixture
def smp():
    """Our spawn context, for behaviour that CPython does not promise."""
    return ours()


def ours():
    import serverless_mp

    return serverless_mp.get_context("spawn")


@pytest.fixture
def run():
    """A function that runs `serverless-mp run` on a program, and returns its result, with output as text."""

    def run(*arguments, timeout=60, env=None, **options):
        command = [sys.executable, "-m", "serverless_mp.cli", "run", *map(str, arguments)]
        options = {"capture_output": True, "text": True, "check": False} | options
        return subprocess.run(command, timeout=timeout, env={**os.environ, **(env or {})}, **options)

    return run

"""One emulator for all tests, and a function in each of the two modes, which our own command deploys.

Functions run in sandboxes, which share only the network with the tests, so the store is on TCP.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from emulator import Emulator
from sandbox.environments import possible

import stores
from places import STORE

FOLDER = Path(__file__).parent


def pytest_collection_modifyitems(items):
    for item in items:
        if FOLDER in item.path.parents:
            item.add_marker(pytest.mark.aws)
            if "aws" in item.fixturenames and not possible():
                item.add_marker(pytest.mark.skip(reason="this machine makes no namespaces for this user"))


@pytest.fixture(scope="session", autouse=True)
def store_for_functions(store, tmp_path_factory):
    if STORE != "private":
        yield
        return
    with stores.server(tmp_path_factory.mktemp("functions-store")) as port:
        os.environ["SERVERLESS_MP_REDIS_URL"] = f"redis://:{stores.QUOTED}@127.0.0.1:{port}"
        yield
        del os.environ["SERVERLESS_MP_REDIS_URL"]


@pytest.fixture(scope="session")
def aws(tmp_path_factory):
    emulator = Emulator(tmp_path_factory.mktemp("aws"))
    yield emulator
    emulator.stop()


@pytest.fixture(scope="session")
def functions(aws):
    """Returns the name of the function of a kind, and deploys it at the first use."""
    made = {}

    def function(kind):
        if kind not in made:
            done = aws.deploy(f"tests-{kind}", "--timeout", 60, kind=kind)
            assert done.returncode == 0, done.stdout + done.stderr
            made[kind] = f"tests-{kind}"
        return made[kind]

    return function


@pytest.fixture(params=["managed", "custom"])
def function(request, functions):
    """The function, in both modes."""
    return functions(request.param)


@pytest.fixture
def custom(functions):
    """The function in the faster mode."""
    return functions("custom")

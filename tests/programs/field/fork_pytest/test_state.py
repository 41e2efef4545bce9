import multiprocessing
from unittest import mock

import helper2

ctx = multiprocessing.get_context("fork")


def show(q):
    q.put(helper2.getk())


def run_target():
    q = ctx.Queue()
    p = ctx.Process(target=show, args=(q,))
    p.start()
    r = q.get(timeout=30)
    p.join()
    return r


def test_process_target(monkeypatch):
    monkeypatch.setattr(helper2, "K", 7)
    assert run_target() == 7


def test_mock_patch_function():
    with mock.patch("helper2.getk", lambda: 42):
        assert run_target() == 42


def test_pool_initializer(monkeypatch):
    monkeypatch.setattr(helper2, "K", 7)
    with ctx.Pool(1) as p:
        assert p.apply(helper2.getk) == 7


STATE = {}


def seen(_):
    return dict(STATE)


def test_module_state():
    STATE["a"] = 1
    with ctx.Pool(1) as p:
        assert p.map(seen, [0]) == [{"a": 1}]


def test_env(monkeypatch):
    monkeypatch.setenv("SMP_PROBE", "1")
    import os

    with ctx.Pool(1) as p:
        assert p.apply(os.getenv, ("SMP_PROBE",)) == "1"


def test_tmp_cwd(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    import os

    with ctx.Pool(1) as p:
        assert p.apply(os.getcwd) == str(tmp_path)


def test_fixture_closure():
    p = ctx.Process(target=lambda: None)
    p.start()
    p.join()
    assert p.exitcode == 0

"""`serverless-mp up` and `down`: from credentials to a first result, and back to nothing."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from . import lifecycle
from .deployment import Deployment
from .instance import Store

if TYPE_CHECKING:
    import argparse


def up(options: argparse.Namespace, session: Any) -> int:
    """Makes a store that both sides reach, and the function; notes the store's address where a run finds it."""
    begun = time.monotonic()
    session.client("sts").get_caller_identity()
    if options.subnets:
        raise ValueError("--subnets: a function in a VPC has no way to the store's public address; use `serverless-mp deploy`")
    store = Store(session, options.function, options.instance_type, options.port)
    plans = store.plan()
    deployment = Deployment(options, session)
    plans += deployment.plans
    for plan in plans:
        sys.stdout.write(f"{plan}\n")
    if options.dry_run:
        return 0
    if plans and not options.yes and not lifecycle.agrees("Do this?", f"up makes what costs money in {session.region_name}"):
        return 1
    # The machine installs its server while the function is made.
    store.apply()
    for line in deployment.apply():
        sys.stdout.write(f"{line}\n")
    store.wait(_tell)
    sys.stdout.write(f"done in {time.monotonic() - begun:.0f} s: {lifecycle.how_to_run(options.function)}\n")
    return 0


def _tell(text: str) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{text:.120}")
        sys.stderr.flush()


def down(options: argparse.Namespace, session: Any) -> int:
    """Removes the store, the function and all that belongs to them; each thing is told as it goes."""
    question = f"Delete the store of {options.function}, the function, its packages, its role and its log?"
    if not options.yes and not lifecycle.agrees(question, f"down deletes the store and the function {options.function}"):
        return 1
    store = Store(session, options.function, "", 0)
    lines = 0
    for part in (store.destroy(), lifecycle.ends(options.function, session)):
        for line in part:
            sys.stdout.write(f"{line}\n")
            sys.stdout.flush()
            lines += 1
    if not lines:
        sys.stdout.write("nothing was there\n")
    return 0

"""`serverless-mp up` and `down`: create and remove everything that a run on Lambda needs."""

from __future__ import annotations

import contextlib
import itertools
import sys
import time
from typing import TYPE_CHECKING, Any

from serverless_mp import addresses

from . import lifecycle
from .deployment import Deployment
from .instance import Store
from .private import Network

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator


def up(options: argparse.Namespace, session: Any) -> int:
    """Creates a store that both sides can reach, and the function. Records the store's address where a run finds it."""
    begun = time.monotonic()
    # The first call needs credentials, which are most often missing.
    addresses.check(options.function, session)
    if options.subnets:
        raise ValueError(
            "--subnets: up makes a store that the function reaches where it is; for one of yours use `serverless-mp deploy`"
        )
    if not session.client("lambda").get_account_settings()["AccountLimit"]["ConcurrentExecutions"]:
        raise ValueError(
            "the account may run no invocation: ask for the quota `Concurrent executions` of AWS Lambda (Service Quotas)"
        )
    last = (_up_private if options.private else _up_public)(options, session)
    if last is None:
        return 0 if options.dry_run else 1
    sys.stdout.write(f"done in {time.monotonic() - begun:.0f} s: {last}\n")
    return 0


def _up_public(options: argparse.Namespace, session: Any) -> str | None:
    """Returns the command to continue with; None for a dry run, or if the user declined."""
    store = Store(session, options.function, options.instance_type, options.port)
    plans = store.plan()
    deployment = Deployment(options, session)
    if options.subnets:
        raise ValueError(
            f"function {options.function} is in a VPC, from which it has no way to the store's public address: "
            "`serverless-mp destroy` removes it first"
        )
    if not _is_wanted([*plans, *deployment.plans], options, session):
        return None
    with _naming_what_may_be_left():
        # The machine installs its server while the function is created.
        store.apply()
        _apply(deployment)
    store.wait(_tell)
    return lifecycle.how_to_run(options.function)


def _up_private(options: argparse.Namespace, session: Any) -> str | None:
    """The same for `--private`. The function is created once its subnets are known."""
    for option in ("instance_type", "port"):
        if getattr(options, option) is not None:
            raise ValueError(f"--{option.replace('_', '-')} is for the machine of `up`; the template of --private has its own")
    network = Network(session, options.function)
    plans = network.plan() or [f"stack {network.name} is there"]
    then = f"deploy function {options.function} into its subnets"
    if not _is_wanted([*plans, then], options, session):
        return None
    with _naming_what_may_be_left():
        network.apply()
        outputs = network.outputs()
        options.subnets, options.security_groups = outputs["Subnets"].split(), [outputs["SecurityGroup"]]
        _apply(Deployment(options, session))
    return f"{lifecycle.how_to_run(options.function)}, while this runs: {network.tunnel()}"


@contextlib.contextmanager
def _naming_what_may_be_left() -> Iterator[None]:
    """Adds a hint to an error or interrupt, which may come when some resources exist already."""
    try:
        yield
    except BaseException:
        sys.stderr.write(
            "serverless-mp: up has not ended; what it has made until now may cost money: `serverless-mp status` shows it, "
            "`serverless-mp down` removes it\n"
        )
        raise


def _is_wanted(plans: list[str], options: argparse.Namespace, session: Any) -> bool:
    for plan in plans:
        sys.stdout.write(f"{plan}\n")
    if options.dry_run:
        return False
    return not plans or options.yes or lifecycle.agrees("Do this?", f"up makes what costs money in {session.region_name}")


def _apply(deployment: Deployment) -> None:
    for line in deployment.apply():
        sys.stdout.write(f"{line}\n")


def _tell(text: str) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{text:.120}")
        sys.stderr.flush()


def down(options: argparse.Namespace, session: Any) -> int:
    """Removes the store, the function and all that belongs to them. Prints a line for each resource."""
    question = f"Delete the store of {options.function}, the function, its packages, its role and its log?"
    addresses.check(options.function, session)
    if not options.yes and not lifecycle.agrees(question, f"down deletes the store and the function {options.function}"):
        return 1
    # What costs money is removed first, but a network cannot be deleted while something is in it.
    is_private = options.private or addresses.is_private(addresses.read(options.function))
    parts = [Store(session, options.function).destroy(), lifecycle.ends(options.function, session)]
    if is_private:
        parts.append(Network(session, options.function).destroy())
    parts.append(_forget(options.function))
    lifecycle.tell(itertools.chain.from_iterable(parts))
    return 0


def _forget(function: str) -> Iterator[str]:
    if addresses.forget(function):
        yield f"deleted {addresses.path(function)}"

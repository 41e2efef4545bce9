"""The store of `serverless-mp up`: one machine in the default VPC with Redis or Valkey behind TLS, found by its tag."""

from __future__ import annotations

import contextlib
import hashlib
import re
import secrets
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from botocore.exceptions import ClientError

from serverless_mp import _core, addresses

from . import certificate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TAG = "serverless-mp"
_FILES = Path(__file__).with_name("files")
_DIRECTORY = "/etc/serverless-mp"
# Resolved by EC2: the newest Amazon Linux 2023.
_IMAGE = "resolve:ssm:/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-"
# USD an hour, us-east-1, 2026 (aws.amazon.com/ec2/pricing/on-demand); a public IPv4 address; a month of 8 GB of gp3.
_PRICES = {
    "t4g.micro": 0.0084, "t4g.small": 0.0168, "t4g.medium": 0.0336, "t4g.large": 0.0672, "t3.small": 0.0208,
    "t3.medium": 0.0416, "c7g.large": 0.0725, "c7g.xlarge": 0.145, "m7g.large": 0.0816, "r7g.large": 0.1071,
}  # fmt: skip
_ADDRESS_PRICE, _DISK_PRICE = 0.005, 0.64
_GRAVITON = re.compile(r"(?:a1|[a-z]+\d+g[a-z]*)\.")
# Another zone may have a machine type that this one lacks.
_ELSEWHERE = {"Unsupported", "InsufficientInstanceCapacity"}
_READY, _PAUSE = 300.0, 3.0
_LIVING = ["pending", "running", "stopping", "stopped"]
_STOPPED = {"stopping", "stopped"}
_KIND, _PORT = "t4g.small", 6379


class InstanceError(ValueError):
    """An error whose message names the problem and the remedy."""


class Store:
    """The machine and its security group, named after the function that they serve.

    `kind` and `port` are for a new machine; an existing one keeps its own.
    """

    def __init__(self, session: Any, function: str, kind: str | None = None, port: int | None = None) -> None:
        self.session, self.function, self.kind, self.port = session, function, kind or _KIND, port or _PORT
        self._named = {"--instance-type": kind, "--port": port}
        self.ec2 = session.client("ec2")
        self.name = f"{function}-store"
        self.tags = [{"Key": TAG, "Value": function}, {"Key": "Name", "Value": self.name}]
        self._mine = [{"Name": f"tag:{TAG}", "Values": [function]}]

    # ---- what there is ---------------------------------------------------------------------------------------

    def instances(self) -> list[dict[str, Any]]:
        """The machines that are not terminated: one, unless two commands have run at once."""
        filters = [*self._mine, {"Name": "instance-state-name", "Values": _LIVING}]
        reservations = self.ec2.describe_instances(Filters=filters)["Reservations"]
        return [instance for one in reservations for instance in one["Instances"]]

    def groups(self) -> list[str]:
        """The ids of its security group: one or none."""
        return [group["GroupId"] for group in self.ec2.describe_security_groups(Filters=self._mine)["SecurityGroups"]]

    def plan(self) -> list[str]:
        """The steps that are needed. Raises InstanceError if the address and password of the store are not known here."""
        noted = addresses.read(self.function)
        if addresses.is_private(noted):
            raise InstanceError(f"{self.function} has a store of `up --private`: `serverless-mp down` removes it first")
        instance = self._only()
        if instance is None:
            self._subnets()
            group = (
                f"create security group {self.name}: TCP {self.port} from anywhere, since functions have no address of their "
                "own; the store asks for TLS and a password of 256 bits"
            )
            machine = (
                f"start a machine {self.name} ({self.kind}, Amazon Linux 2023, Valkey): {price(self.kind)} an hour; it stops "
                f"when nobody has been connected to it for an hour, and then its disk costs about ${_DISK_PRICE} a month"
            )
            return [group, machine]
        if noted is None or noted.get("instance") != instance["InstanceId"]:
            raise InstanceError(
                f"machine {instance['InstanceId']} is the store of {self.function}, and its password is only where "
                f"`serverless-mp up` made it: copy {addresses.path(self.function)} from there, or remove the machine with "
                "`serverless-mp down`"
            )
        self.kind, self.port = instance["InstanceType"], noted["port"]
        for option, now in (("--instance-type", self.kind), ("--port", self.port)):
            if self._named[option] not in {None, now}:
                raise InstanceError(
                    f"{option} {self._named[option]}: the store has {now}; `serverless-mp down` removes it first"
                )
        if instance["State"]["Name"] in _STOPPED:
            return [f"start machine {instance['InstanceId']} again: {price(self.kind)} an hour"]
        return []

    def _only(self) -> dict[str, Any] | None:
        found = self.instances()
        if len(found) > 1:
            names = ", ".join(one["InstanceId"] for one in found)
            raise InstanceError(f"{self.function} has several machines, {names}: `serverless-mp down` removes them")
        return found[0] if found else None

    def _subnets(self) -> list[str]:
        """The subnets of the default VPC, one in each zone."""
        vpcs = self.ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"]
        if not vpcs:
            raise InstanceError(
                f"there is no default VPC in {self.session.region_name}: `aws ec2 create-default-vpc` makes one; or set "
                "SERVERLESS_MP_REDIS_URL to a store of yours and use `serverless-mp deploy`"
            )
        filters = [{"Name": "vpc-id", "Values": [vpcs[0]["VpcId"]]}, {"Name": "default-for-az", "Values": ["true"]}]
        subnets = self.ec2.describe_subnets(Filters=filters)["Subnets"]
        if not subnets:
            raise InstanceError(
                f"the default VPC {vpcs[0]['VpcId']} has no default subnet: `aws ec2 create-default-subnet --availability-zone "
                "ZONE` makes one"
            )
        return [subnet["SubnetId"] for subnet in subnets]

    # ---- making and removing ---------------------------------------------------------------------------------

    def apply(self) -> None:
        """Creates or starts the machine, as planned, and records its address."""
        instance = self._only()
        if instance is None:
            self._make()
            return
        noted = addresses.read(self.function) or {}
        if instance["State"]["Name"] in _STOPPED:
            self.ec2.get_waiter("instance_stopped").wait(InstanceIds=[instance["InstanceId"]], WaiterConfig={"Delay": 2})
            self.ec2.start_instances(InstanceIds=[instance["InstanceId"]])
        self._note(noted)

    def _make(self) -> None:
        password, made = secrets.token_hex(32), certificate.make()
        image = f"{_IMAGE}{'arm64' if _GRAVITON.match(self.kind) else 'x86_64'}"
        subnets = self._subnets()
        group = self._group()
        try:
            instance = self._run(image, subnets, group, user_data(password, made, self.port))
        except BaseException:
            # If a machine uses the group after all, it stays; `down` finds it by its tag.
            with contextlib.suppress(ClientError):
                self.ec2.delete_security_group(GroupId=group)
            raise
        query = urlencode({"ca": made.authority.hex(), "server_name": certificate.SERVER_NAME})
        self._note({"instance": instance, "port": self.port, "login": f":{password}@", "query": query})

    def _group(self) -> str:
        there = self.groups()
        group = (
            there[0]
            if there
            else self.ec2.create_security_group(
                GroupName=self.name,
                Description="Functions and programs reach the store of serverless_mp",
                TagSpecifications=[{"ResourceType": "security-group", "Tags": self.tags}],
            )["GroupId"]
        )
        anywhere = {"IpProtocol": "tcp", "FromPort": self.port, "ToPort": self.port, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
        try:
            self.ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[anywhere])
        except ClientError as e:
            if e.response["Error"]["Code"] != "InvalidPermission.Duplicate":
                raise
        return group

    def _run(self, image: str, subnets: list[str], group: str, text: str) -> str:
        problem: ClientError | None = None
        for subnet in subnets:
            try:
                made = self.ec2.run_instances(
                    ImageId=image, InstanceType=self.kind, MinCount=1, MaxCount=1, UserData=text,
                    InstanceInitiatedShutdownBehavior="stop",
                    MetadataOptions={"HttpTokens": "required"},
                    NetworkInterfaces=[
                        {"DeviceIndex": 0, "SubnetId": subnet, "Groups": [group], "AssociatePublicIpAddress": True}
                    ],
                    TagSpecifications=[{"ResourceType": kind, "Tags": self.tags} for kind in ("instance", "volume")],
                )  # fmt: skip
                return made["Instances"][0]["InstanceId"]
            except ClientError as e:
                if e.response["Error"]["Code"] not in _ELSEWHERE:
                    raise
                problem = e
        raise InstanceError(
            f"no zone of {self.session.region_name} has a machine of type {self.kind} now ({problem}): choose another with "
            "--instance-type"
        )

    def _note(self, noted: dict[str, Any]) -> None:
        """Records the address of the store, which changes with each start."""
        # Recorded first without an address, so that the password is not lost whatever happens next.
        noted = noted | addresses.account_of(self.session) | {"url": None}
        addresses.write(self.function, noted)
        identity = noted["instance"]
        self.ec2.get_waiter("instance_running").wait(InstanceIds=[identity], WaiterConfig={"Delay": 2})
        host = next((one.get("PublicIpAddress") for one in self.instances() if one["InstanceId"] == identity), None)
        if host is None:
            raise InstanceError(f"machine {identity} has no public address: {self._remains(identity)}")
        url = f"rediss://{noted['login']}{host}:{noted['port']}/0?{noted['query']}"
        addresses.write(self.function, noted | {"url": url})

    def wait(self, tell: Callable[[str], None]) -> None:
        """Waits until the store answers. Raises InstanceError if it does not."""
        noted = addresses.read(self.function) or {}
        last = time.monotonic() + _READY
        while True:
            try:
                return _core.try_store(noted["url"])
            except OSError as e:
                tell(f"the store is not there yet: {e}")
                if time.monotonic() > last:
                    problem = f"the store does not answer after {_READY:.0f} s ({e}); {self._remains(noted['instance'])}"
                    raise InstanceError(problem) from None
            time.sleep(_PAUSE)

    def _remains(self, instance: str) -> str:
        return (
            f"`aws ec2 get-console-output --latest --instance-id {instance}` may say why. It costs {price(self.kind)} an hour "
            "until `serverless-mp down` removes it"
        )

    def destroy(self) -> Iterator[str]:
        """Removes everything with its tag. Yields a line for each resource. Can be run again."""
        identities = [instance["InstanceId"] for instance in self.instances()]
        if identities:
            self.ec2.terminate_instances(InstanceIds=identities)
            yield from (f"terminated machine {identity}" for identity in identities)
            self.ec2.get_waiter("instance_terminated").wait(InstanceIds=identities, WaiterConfig={"Delay": 3})
        for group in self.groups():
            self.ec2.delete_security_group(GroupId=group)
            yield f"deleted security group {group}"


def price(kind: str) -> str:
    """The price of a machine per hour, including its address."""
    if kind not in _PRICES:
        return f"the price of {kind}, and ${_ADDRESS_PRICE} for its address,"
    return f"about ${_PRICES[kind] + _ADDRESS_PRICE:.3f}"


def user_data(password: str, made: certificate.Certificate, port: int) -> str:
    """The script that the machine runs at its first start. It contains only the hash of the password."""

    def file(name: str, text: str) -> str:
        return f"cat > $directory/{name} <<'END-OF-FILE'\n{text.rstrip()}\nEND-OF-FILE\n"

    digest = hashlib.sha256(password.encode()).hexdigest()
    parts = [
        f"#!/bin/sh\nset -eu\ndirectory={_DIRECTORY}\nport={port}\numask 077\nmkdir -p $directory\n",
        file("server.pem", made.server.decode()),
        file("server.key", made.key.decode()),
        file("password.sha256", digest),
        *(file(name, (_FILES / name).read_text()) for name in ("store-serve.sh", "store-idle.sh")),
        (_FILES / "store-install.sh").read_text(),
    ]
    return "".join(parts)

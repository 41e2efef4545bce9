"""The resources in the account. Each knows its state and its wanted state, and applies the difference."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from serverless_mp import config
from serverless_mp.program import packages

from .settings import LEAST_DISK

if TYPE_CHECKING:
    from collections.abc import Callable

    from .code import Code
    from .content import Content
    from .settings import Settings

_TIMEOUT, _PAUSE = 60.0, 2.0
_DESCRIPTION = "Workers of serverless_mp programs"
_TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}


def is_missing(error: ClientError) -> bool:
    """Whether an error means that the resource does not exist."""
    return error.response["Error"]["Code"] in {"ResourceNotFoundException", "NoSuchEntity", "404", "NotFound"}


def found(call: Callable[..., Any], **arguments: Any) -> Any:
    """The answer of a call, or None if the resource does not exist."""
    try:
        return call(**arguments)
    except ClientError as e:
        if is_missing(e):
            return None
        raise


# Errors of AWS while a new resource is not known everywhere yet, or a change is under way.
_NOT_YET = (
    "cannot be assumed",
    "CreateNetworkInterface",
    "CreateGrant",
    "KMS key is invalid",
    "does not have permission to access the ECR image",
    "update is in progress",
    "operation cannot be performed at this time",
)


def patiently(call: Callable[..., Any], **arguments: Any) -> Any:
    """Repeats a call for up to a minute while AWS is not ready for it."""
    last = time.monotonic() + _TIMEOUT
    while True:
        try:
            return call(**arguments)
        except ClientError as e:
            if not any(words in str(e) for words in _NOT_YET) or time.monotonic() > last:
                raise
        time.sleep(_PAUSE)


class Role:
    """The role that the function runs as."""

    def __init__(self, session: Any, settings: Settings) -> None:
        self.iam = session.client("iam")
        self.settings = settings
        self.name = f"{settings.function}-worker"
        self.account = session.client("sts").get_caller_identity()["Account"] if settings.role is None else ""
        self.region = session.region_name
        self.partition = session.get_partition_for_region(session.region_name)

    def plan(self) -> str | None:
        """The steps that are needed; None if there are none."""
        if self.settings.role is not None:
            return None
        rights = f", with {', '.join(self._missing())}" if self._missing() else ""
        if found(self.iam.get_role, RoleName=self.name) is None:
            return f"create role {self.name}{rights}"
        policy = found(self.iam.get_role_policy, RoleName=self.name, PolicyName="worker")
        is_same = policy is not None and policy["PolicyDocument"] == self.policy()
        return None if is_same and not rights else f"update the policies of role {self.name}{rights}"

    def _missing(self) -> list[str]:
        """The managed policies that are still to be attached. Other policies of the role stay."""
        attached = found(self.iam.list_attached_role_policies, RoleName=self.name) if self.settings.policies else None
        has = {policy["PolicyArn"] for policy in attached["AttachedPolicies"]} if attached else set()
        return [arn for arn in self.settings.policies if arn not in has]

    def arn(self) -> str | None:
        """The ARN of the role; None if it does not exist."""
        if self.settings.role is not None:
            return self.settings.role
        role = found(self.iam.get_role, RoleName=self.name)
        return role and role["Role"]["Arn"]

    def apply(self) -> str:
        """Applies the steps. Returns the ARN of the role."""
        if self.settings.role is not None:
            return self.settings.role
        role = found(self.iam.get_role, RoleName=self.name) or self.iam.create_role(
            RoleName=self.name,
            AssumeRolePolicyDocument=json.dumps(_TRUST),
            Description=_DESCRIPTION,
        )
        self.iam.put_role_policy(RoleName=self.name, PolicyName="worker", PolicyDocument=json.dumps(self.policy()))
        for arn in self._missing():
            self.iam.attach_role_policy(RoleName=self.name, PolicyArn=arn)
        return role["Role"]["Arn"]

    def policy(self) -> dict[str, Any]:
        """The minimal permissions of a worker: its log and its VPC. The program itself launches processes of workers."""
        place = f"{self.region}:{self.account}"
        log = f"arn:{self.partition}:logs:{place}:log-group:/aws/lambda/{self.settings.function}"
        statements = [
            _allow(["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"], [log, f"{log}:*"]),
        ]
        if self.settings.subnets:
            actions = ["ec2:CreateNetworkInterface", "ec2:DescribeNetworkInterfaces", "ec2:DeleteNetworkInterface"]
            statements.append(_allow(actions, ["*"]))
        return {"Version": "2012-10-17", "Statement": statements}

    def destroy(self) -> list[str]:
        """Deletes the role if it was created here. Policies attached since are detached."""
        role = found(self.iam.get_role, RoleName=self.name)
        if role is None:
            return []
        if role["Role"].get("Description") != _DESCRIPTION:
            return [f"kept role {self.name}: serverless-mp has not made it"]
        lines = []
        for policy in self.iam.list_attached_role_policies(RoleName=self.name)["AttachedPolicies"]:
            self.iam.detach_role_policy(RoleName=self.name, PolicyArn=policy["PolicyArn"])
            lines.append(f"detached policy {policy['PolicyName']} from role {self.name}")
        for name in self.iam.list_role_policies(RoleName=self.name)["PolicyNames"]:
            self.iam.delete_role_policy(RoleName=self.name, PolicyName=name)
        self.iam.delete_role(RoleName=self.name)
        return [*lines, f"deleted role {self.name}"]


def _allow(actions: list[str], resources: list[str]) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": actions, "Resource": resources}


class Layer:
    """The layer with the packages, if they are not in the function itself."""

    def __init__(
        self, session: Any, settings: Settings, content: Content | None, upload: Callable[[bytes, str], dict[str, str]]
    ) -> None:
        self.client = session.client("lambda")
        self.settings, self.content, self.upload = settings, content, upload
        self.name = settings.function

    def arns(self) -> list[str] | None:
        """Returns the ARN of the wanted layer in a list: an empty list if none is wanted, None if it is not published."""
        if self.settings.in_function or self.content is None:
            return []
        label = self._label()
        return next(([v["LayerVersionArn"]] for v in self.versions() if v.get("Description") == label), None)

    def versions(self) -> list[dict[str, Any]]:
        """All versions of the layer."""
        pages = self.client.get_paginator("list_layer_versions").paginate(LayerName=self.name)
        return [version for page in pages for version in page["LayerVersions"]]

    def plan(self) -> str | None:
        """The steps that are needed; None if there are none."""
        if self.content is None or self.arns() is not None:
            return None
        return f"publish layer {self.name}: {len(self.content.versions)} packages, {self.content.size / 1e6:.1f} MB unzipped"

    def apply(self) -> list[str]:
        """Publishes the layer if needed. Returns the ARNs for the function."""
        arns = self.arns()
        if arns is not None or self.content is None:
            return arns or []
        published = self.client.publish_layer_version(
            LayerName=self.name,
            Description=self._label(),
            Content=self.upload(self.content.archive, "layer"),
            CompatibleRuntimes=[self.settings.runtime],
            CompatibleArchitectures=[self.settings.architecture],
        )
        return [published["LayerVersionArn"]]

    def _label(self) -> str:
        assert self.content is not None  # noqa: S101 - only a deployment asks
        return f"serverless_mp, {self.settings.runtime}, {self.settings.architecture}, sha256 {self.content.digest}"

    def destroy(self, keep: str | None = None) -> list[str]:
        """Deletes all versions except `keep`, and except those that other functions use."""
        versions = [version for version in self.versions() if version["LayerVersionArn"] != keep]
        users = self._users() if versions else {}
        lines = []
        for version in versions:
            name = f"layer {self.name}:{version['Version']}"
            if version["LayerVersionArn"] in users:
                lines.append(f"kept {name}: function {users[version['LayerVersionArn']]} has it")
                continue
            self.client.delete_layer_version(LayerName=self.name, VersionNumber=version["Version"])
            lines.append(f"deleted {name}")
        return lines

    def _users(self) -> dict[str, str]:
        """The names of other functions, by the ARNs of the layers that they use."""
        pages = self.client.get_paginator("list_functions").paginate()
        functions = [one for page in pages for one in page["Functions"] if one["FunctionName"] != self.settings.function]
        return {layer["Arn"]: one["FunctionName"] for one in functions for layer in one.get("Layers", [])}


class Function:
    """The Lambda function."""

    def __init__(self, session: Any, settings: Settings, content: Content, code: Code) -> None:
        self.client = session.client("lambda")
        self.settings, self.content, self.code = settings, content, code

    def wanted(self, role: str | None, layers: list[str] | None) -> dict[str, Any]:
        """The wanted configuration of the function."""
        s = self.settings
        noted = s.noted | {"requested": self.content.requested}
        manifest = packages.Manifest(s.python, self.content.versions, noted)
        environment = s.environment | {config.DEPLOYED: packages.pack(manifest)}
        wanted = self.code.configuration() | {
            "MemorySize": s.memory,
            "Timeout": s.timeout,
            "EphemeralStorage": {"Size": s.disk},
            "Environment": {"Variables": environment},
            "VpcConfig": {"SubnetIds": sorted(s.subnets), "SecurityGroupIds": sorted(s.security_groups)},
            "Description": _DESCRIPTION,
        }
        wanted |= {"Role": role} if role is not None else {}
        return wanted | ({"Layers": layers} if layers is not None and self.code.kind == "Zip" else {})

    def _there(self) -> dict[str, Any] | None:
        there: dict[str, Any] | None = found(self.client.get_function, FunctionName=self.settings.function)
        return there

    def differences(self, there: dict[str, Any], role: str | None, layers: list[str] | None) -> list[str]:
        """The names of the settings that differ."""
        now = dict(there["Configuration"])
        now["Layers"] = [layer["Arn"] for layer in now.get("Layers", [])]
        now["VpcConfig"] = {key: sorted(now.get("VpcConfig", {}).get(key, [])) for key in ("SubnetIds", "SecurityGroupIds")}
        now.setdefault("EphemeralStorage", {"Size": LEAST_DISK})
        differ = [key for key, value in self.wanted(role, layers).items() if now.get(key) != value]
        if not self.code.is_current(there) or now["Architectures"] != [self.settings.architecture]:
            differ.append("Code")
        retries = found(self.client.get_function_event_invoke_config, FunctionName=self.settings.function)
        if retries is None or retries.get("MaximumRetryAttempts") != 0:
            differ.append("MaximumRetryAttempts")
        return differ

    def replaced(self, there: dict[str, Any]) -> str | None:
        """Why an existing function must be created again; None if it can be changed."""
        now = there["Configuration"]
        if now.get("State") == "Failed":
            return f"it is in state Failed: {now.get('StateReason', 'no reason is given')}"
        if now.get("PackageType", "Zip") != self.code.kind:
            return f"no function changes from {now.get('PackageType', 'Zip')} to {self.code.kind}"
        return None

    def plan(self, role: str | None, layers: list[str] | None) -> str | None:
        """The steps that are needed; None if there are none. `layers` is None while they are not published."""
        s = self.settings
        there = self._there()
        why = self.replaced(there) if there is not None else None
        if there is None or why is not None:
            where = f", VPC {', '.join(s.subnets)}" if s.subnets else ""
            disk = f", {s.disk} MB of disk" if s.disk > LEAST_DISK else ""
            form = s.runtime if self.code.kind == "Zip" else f"image on {s.base_image}"
            what = f"{form}, {s.architecture}, {s.memory} MB, {s.timeout} s{disk}, no asynchronous retries{where}"
            return f"create function {s.function}{f' again ({why})' if why is not None else ''}: {what}"
        differ = self.differences(there, role, layers)
        if layers is None:
            differ.append("Layers")
        return f"update function {s.function}: {', '.join(differ)}" if differ else None

    def apply(self, role: str, layers: list[str]) -> None:
        """Applies the steps, and waits until the function can be invoked."""
        name = self.settings.function
        there = self._there()
        wanted = self.wanted(role, layers)
        if there is None or self.replaced(there) is not None:
            found(self.client.delete_function, FunctionName=name)
            self._create(wanted)
        elif differ := self.differences(there, role, layers):
            if "Code" in differ:
                patiently(
                    self.client.update_function_code,
                    FunctionName=name,
                    Architectures=[self.settings.architecture],
                    **self.code.arguments(),
                )
                self.client.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})
            patiently(self.client.update_function_configuration, FunctionName=name, **wanted)
            self.client.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})
        # Our invocations are synchronous. This stops Lambda from repeating an asynchronous one that somebody else makes.
        self.client.put_function_event_invoke_config(FunctionName=name, MaximumRetryAttempts=0)

    def _create(self, wanted: dict[str, Any]) -> None:
        patiently(
            self.client.create_function,
            FunctionName=self.settings.function,
            PackageType=self.code.kind,
            Architectures=[self.settings.architecture],
            Code=self.code.arguments(),
            **wanted,
        )
        self.client.get_waiter("function_active_v2").wait(FunctionName=self.settings.function, WaiterConfig={"Delay": 1})

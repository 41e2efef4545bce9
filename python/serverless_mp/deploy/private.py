"""`serverless-mp up --private`: a network without internet access, with a store and a machine in it, by CloudFormation.

The template is the only description of that network.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError, WaiterError

from serverless_mp import addresses

if TYPE_CHECKING:
    from collections.abc import Iterator

TEMPLATE = Path(__file__).with_name("files") / "private.yaml"
# USD an hour, us-east-1, 2026: cache.t4g.small 0.026 (Valkey), t4g.small 0.0168, four interface endpoints in one zone 0.04.
_PRICE = 0.083
_MISSING = "does not exist"


class NetworkError(ValueError):
    """An error whose message names the problem and the remedy."""


class Network:
    """The stack, named after the function that it serves."""

    def __init__(self, session: Any, function: str) -> None:
        self.session, self.function = session, function
        self.client = session.client("cloudformation")
        self.name = f"{function}-private"

    def stack(self) -> dict[str, Any] | None:
        """The description of the stack; None if it does not exist."""
        try:
            return self.client.describe_stacks(StackName=self.name)["Stacks"][0]
        except ClientError as e:
            if _MISSING in str(e):
                return None
            raise

    def plan(self) -> list[str]:
        """The steps that are needed. Raises NetworkError for an incomplete stack."""
        noted = addresses.read(self.function)
        if noted is not None and not addresses.is_private(noted):
            raise NetworkError(f"{self.function} has a store of `up`: `serverless-mp down` removes it first")
        stack = self.stack()
        if stack is None:
            text = (
                f"create stack {self.name}: a VPC without a way to the internet, Valkey (ElastiCache), a machine to log in to: "
                f"about ${_PRICE} an hour, used or not"
            )
            return [text]
        if not stack["StackStatus"].endswith("_COMPLETE") or "ROLLBACK" in stack["StackStatus"]:
            reason = stack.get("StackStatusReason", "no reason is given")
            raise NetworkError(
                f"stack {self.name} is in state {stack['StackStatus']} ({reason}): `serverless-mp down` removes what is there"
            )
        return []

    def apply(self) -> None:
        """Creates the stack, which takes some ten minutes, and records the store's addresses."""
        if self.stack() is None:
            self.client.create_stack(
                StackName=self.name, TemplateBody=TEMPLATE.read_text(), Capabilities=["CAPABILITY_IAM"], OnFailure="DELETE"
            )
            try:
                self.client.get_waiter("stack_create_complete").wait(
                    StackName=self.name, WaiterConfig={"Delay": 10, "MaxAttempts": 180}
                )
            except WaiterError:
                raise NetworkError(self._failure()) from None
        outputs = self.outputs()
        secrets = self.session.client("secretsmanager")
        password = secrets.get_secret_value(SecretId=outputs["Secret"])["SecretString"]
        host, port = outputs["Host"], outputs["Port"]
        noted = {
            # Here the address is the end of a tunnel; the certificate is for the store's own name.
            "url": f"rediss://:{password}@localhost:{port}/0?server_name={host}",
            "function_url": f"rediss://:{password}@{host}:{port}/0",
            "instance": outputs["Machine"],
        }
        addresses.write(self.function, noted | addresses.account_of(self.session))

    def _failure(self) -> str:
        events = self.client.describe_stack_events(StackName=self.name)["StackEvents"]
        failed = [
            one
            for one in events
            if one["ResourceStatus"].endswith("_FAILED") and "cancelled" not in one.get("ResourceStatusReason", "")
        ]
        reason = (
            f"{failed[-1]['LogicalResourceId']}: {failed[-1].get('ResourceStatusReason')}" if failed else "no reason is given"
        )
        return f"stack {self.name} could not be made, and CloudFormation removes what was there ({reason})"

    def outputs(self) -> dict[str, str]:
        """The outputs of the template."""
        stack = self.stack() or {}
        return {one["OutputKey"]: one["OutputValue"] for one in stack.get("Outputs", [])}

    def tunnel(self) -> str:
        """The command that opens the tunnel to the store; `none yet` while the network is incomplete."""
        outputs = self.outputs()
        if not outputs:
            return "none yet"
        parameters = f"host={outputs['Host']},portNumber={outputs['Port']},localPortNumber={outputs['Port']}"
        return (
            f"aws ssm start-session --target {outputs['Machine']} --document-name AWS-StartPortForwardingSessionToRemoteHost "
            f"--parameters {parameters}"
        )

    def destroy(self) -> Iterator[str]:
        """Deletes the stack. Yields a line for each step. Can be run again."""
        if self.stack() is not None:
            self.client.delete_stack(StackName=self.name)
            try:
                self.client.get_waiter("stack_delete_complete").wait(
                    StackName=self.name, WaiterConfig={"Delay": 10, "MaxAttempts": 180}
                )
            except WaiterError:
                events = f"aws cloudformation describe-stack-events --stack-name {self.name}"
                raise NetworkError(f"stack {self.name} is not gone: `{events}` says why") from None
            yield f"deleted stack {self.name}"

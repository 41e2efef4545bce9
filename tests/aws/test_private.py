"""`up --private`: the network in the template for CloudFormation, and its routes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

from cfnlint.decode import cfn_yaml
from emulator import wheel
from test_deploy import everything, lines
from test_up import account  # noqa: F401 - a fixture

from serverless_mp.deploy.private import TEMPLATE

RUNTIME = f"python{sys.version_info.major}.{sys.version_info.minor}"


def test_template_is_valid():
    tool = Path(sys.executable).with_name("cfn-lint")
    done = subprocess.run([tool, TEMPLATE], capture_output=True, text=True, check=False, timeout=100)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


def resources():
    return cfn_yaml.load(str(TEMPLATE))["Resources"]


def reference(value):
    return value["Ref"] if isinstance(value, dict) else value


def groups(resource):
    return {reference(group) for name in ("SecurityGroupIds",) for group in resource["Properties"].get(name, [])}


def admits(target, port, source):
    """Whether a security group of the target admits members of a group of the source."""
    rules = [rule for group in groups(target) for rule in resources()[group]["Properties"].get("SecurityGroupIngress", [])]
    return any(
        rule["FromPort"] <= port <= rule["ToPort"] and reference(rule["SourceSecurityGroupId"]) in groups(source)
        for rule in rules
    )


def vpc_of(resource):
    """Returns the VPC of a resource that names its VPC, or its subnets."""
    properties = resource["Properties"]
    if "VpcId" in properties:
        return reference(properties["VpcId"])
    subnets = [properties["SubnetId"]] if "SubnetId" in properties else properties["SubnetIds"]
    return {reference(resources()[reference(subnet)]["Properties"]["VpcId"]) for subnet in subnets}.pop()


def endpoint(service):
    """Returns the interface endpoint of a service, which answers under the service's name in the VPC."""
    found = [
        one
        for one in resources().values()
        if one["Type"] == "AWS::EC2::VPCEndpoint" and str(one["Properties"]["ServiceName"]).rstrip("'}").endswith(f".{service}")
    ]
    assert len(found) == 1, service
    assert found[0]["Properties"]["PrivateDnsEnabled"] is True
    return found[0]


def test_ways_from_the_machine():
    """The services for logins and for invocations have endpoints in the machine's VPC that admit it."""
    machine = resources()["Machine"]
    for service in ("ssm", "ssmmessages", "ec2messages", "lambda"):
        there = endpoint(service)
        assert vpc_of(there) == vpc_of(machine)
        assert admits(there, 443, machine)
    dns = resources()[vpc_of(machine)]["Properties"]
    assert dns["EnableDnsSupport"] is dns["EnableDnsHostnames"] is True


def test_ways_to_the_store():
    """The store admits the machine and the function, which has the security group of the outputs."""
    store = resources()["Store"]
    group = reference(cfn_yaml.load(str(TEMPLATE))["Outputs"]["SecurityGroup"]["Value"])
    function = {"Properties": {"SecurityGroupIds": [group]}}
    for source in (resources()["Machine"], function):
        assert admits(store, 6379, source)
    subnets = resources()[reference(store["Properties"]["CacheSubnetGroupName"])]
    assert vpc_of(subnets) == vpc_of(resources()["Machine"])


def test_from_nothing_to_nothing(account, tmp_path):  # noqa: F811
    name = "tests-private"
    options = ["--function", name, "--wheel", wheel(), "--glibc", "2.36", "--runtime", RUNTIME]
    made = lines(account.command("up", "--private", "--yes", *options))
    assert made[0].startswith(f"create stack {name}-private: a VPC without a way to the internet, Valkey (ElastiCache)")
    assert re.fullmatch(
        rf"done in \d+ s: serverless-mp run --on lambda --function {name} script.py, while this runs: aws ssm start-session .+",
        made[-1],
    )
    outputs = account.client("cloudformation").describe_stacks(StackName=f"{name}-private")["Stacks"][0]["Outputs"]
    outputs = {one["OutputKey"]: one["OutputValue"] for one in outputs}
    network = account.client("lambda").get_function_configuration(FunctionName=name)["VpcConfig"]
    assert sorted(network["SubnetIds"]) == sorted(outputs["Subnets"].split())
    assert network["SecurityGroupIds"] == [outputs["SecurityGroup"]]

    note = json.loads((tmp_path / "config" / "serverless-mp" / f"{name}.json").read_text())
    assert note["url"].endswith(f"@localhost:{outputs['Port']}/0?server_name={outputs['Host']}")
    assert note["function_url"].endswith(f"@{outputs['Host']}:{outputs['Port']}/0")
    status = "\n".join(lines(account.command("status", "--function", name)))
    assert f"network       stack {name}-private, CREATE_COMPLETE" in status and "tunnel        aws ssm" in status

    done = account.command("up", "--yes", *options)
    assert f"{name} has a store of `up --private`: `serverless-mp down` removes it first" in done.stderr
    again = lines(account.command("up", "--private", "--yes", *options))
    assert again[0] == f"stack {name}-private is there"

    gone = lines(account.command("down", "--yes", "--function", name))
    assert gone[0] == f"deleted function {name}" and f"deleted stack {name}-private" in gone
    assert everything(account, name) == []
    assert lines(account.command("down", "--yes", "--function", name)) == ["nothing was there"]

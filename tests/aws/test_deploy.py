"""The deploy command and its siblings, from nothing to nothing."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from pathlib import Path

from emulator import REGION, ROOT

RUNTIME = f"python{sys.version_info.major}.{sys.version_info.minor}"


def lines(done):
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def everything(aws, name):
    """What there is of it in the account."""
    functions = [f["FunctionName"] for f in aws.client("lambda").list_functions()["Functions"] if name in f["FunctionName"]]
    layers = [layer["LayerName"] for layer in aws.client("lambda").list_layers()["Layers"] if name in layer["LayerName"]]
    roles = [role["RoleName"] for role in aws.client("iam").list_roles()["Roles"] if name in role["RoleName"]]
    logs = [g["logGroupName"] for g in aws.client("logs").describe_log_groups()["logGroups"] if name in g["logGroupName"]]
    return functions + layers + roles + logs


def test_from_nothing_to_nothing(aws):
    name = "tests-whole"
    plan = [
        f"create role {name}-worker",
        f"create function {name}: {RUNTIME}, x86_64, 1769 MB, 900 s, no asynchronous retries",
    ]
    dry = lines(aws.deploy(name, "--dry-run", kind="managed"))
    assert [dry[0], dry[2]] == plan
    assert dry[1].startswith(f"publish layer {name}: ")
    assert everything(aws, name) == []  # a dry run leaves nothing

    assert lines(aws.deploy(name, kind="managed")) == [*dry, f"done: serverless-mp run --on lambda --function {name} script.py"]
    assert lines(aws.deploy(name, kind="managed")) == [f"function {name} is as it should be: nothing to do"]

    status = "\n".join(lines(aws.command("status", "--function", name)))
    assert "state         Active" in status
    assert f"serverless_mp {importlib.metadata.version('serverless_mp')}" in status

    assert lines(aws.deploy(name, "--memory", 512, "--dry-run", kind="managed")) == [f"update function {name}: MemorySize"]
    assert lines(aws.deploy(name, "--memory", 512, kind="managed"))[0] == f"update function {name}: MemorySize"
    configuration = aws.client("lambda").get_function_configuration(FunctionName=name)
    assert (configuration["MemorySize"], configuration["Timeout"]) == (512, 900)
    assert aws.client("lambda").get_function_event_invoke_config(FunctionName=name)["MaximumRetryAttempts"] == 0

    # A layer with other content replaces the first; no old version stays.
    lines(aws.deploy(name, "--strip-tests", "--memory", 512, kind="managed"))
    assert len(aws.client("lambda").list_layer_versions(LayerName=name)["LayerVersions"]) == 1

    gone = lines(aws.command("destroy", "--function", name))
    assert gone[0] == f"deleted function {name}"
    assert f"deleted role {name}-worker" in gone
    assert everything(aws, name) == []
    assert lines(aws.command("destroy", "--function", name)) == ["nothing was there"]
    done = aws.command("status", "--function", name)
    assert (done.returncode, done.stdout) == (1, f"there is no function {name} in {REGION}: `serverless-mp deploy` makes it\n")


def test_doctor(aws, functions, tmp_path):
    import stores

    function = functions("custom")
    with stores.server(tmp_path) as port:
        url = f"redis://:{stores.QUOTED}@127.0.0.1:{port}/0"
        done = aws.command("doctor", "--function", function, env={"SERVERLESS_MP_REDIS_URL": url})
    version = importlib.metadata.version("cloudpickle")
    assert f"ok   function {function}\n" in done.stdout
    assert f"ok   store redis://127.0.0.1:{port}/0 from here\n" in done.stdout
    assert f"ok   store redis://127.0.0.1:{port}/0 from the function\n" in done.stdout
    assert "cloudpickle" in done.stdout and version not in done.stdout  # the same on both sides
    assert stores.PASSWORD not in done.stdout

    done = aws.command("doctor", "--function", "nowhere")
    assert done.returncode == 1
    assert "BAD  function nowhere: not there; `serverless-mp deploy` makes it\n" in done.stdout


def test_logs(aws, functions):
    function = functions("custom")
    aws.client("lambda").invoke(FunctionName=function, Payload=b"{}")  # not an event of ours
    done = aws.command("logs", "--function", function)
    assert "this function runs processes of serverless_mp programs" in done.stdout
    done = aws.command("logs", "--function", "never-run")
    assert lines(done) == ["function never-run has not logged anything"]


def test_vpc_and_policy(aws):
    """What is written down for the worker is the least that it needs."""
    name = "tests-vpc"
    lines(aws.deploy(name, "--subnets", "subnet-1", "subnet-2", "--security-groups", "sg-1", kind="managed"))
    configuration = aws.client("lambda").get_function_configuration(FunctionName=name)
    assert configuration["VpcConfig"]["SubnetIds"] == ["subnet-1", "subnet-2"]
    policy = aws.client("iam").get_role_policy(RoleName=f"{name}-worker", PolicyName="worker")["PolicyDocument"]
    actions = {action for statement in policy["Statement"] for action in statement["Action"]}
    assert actions == {
        "logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents", "lambda:InvokeFunction",
        "lambda:GetFunctionConfiguration", "ec2:CreateNetworkInterface", "ec2:DescribeNetworkInterfaces",
        "ec2:DeleteNetworkInterface",
    }  # fmt: skip
    lines(aws.command("destroy", "--function", name))


def test_template():
    """The infrastructure as code is what CloudFormation takes."""
    template = ROOT / "lambda-layer" / "template.yaml"
    done = subprocess.run(
        [Path(sys.executable).with_name("cfn-lint"), template], capture_output=True, text=True, check=False, timeout=100
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr

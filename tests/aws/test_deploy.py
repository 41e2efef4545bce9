"""The deploy command and its siblings, from an empty account back to an empty account."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
import sys

import pytest
from emulator import REGION, wheel
from sandbox.front import Rule

RUNTIME = f"python{sys.version_info.major}.{sys.version_info.minor}"


def lines(done):
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def everything(aws, name):
    """Returns all resources of the function in the account."""
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
    assert everything(aws, name) == []  # a dry run creates nothing

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

    # A layer with other content replaces the first; its old version is deleted.
    lines(aws.deploy(name, "--strip-tests", "--memory", 512, kind="managed"))
    assert len(aws.client("lambda").list_layer_versions(LayerName=name)["LayerVersions"]) == 1

    gone = lines(aws.command("destroy", "--yes", "--function", name))
    assert gone[0] == f"deleted function {name}"
    assert f"deleted role {name}-worker" in gone
    assert everything(aws, name) == []
    assert lines(aws.command("destroy", "--yes", "--function", name)) == ["nothing was there"]
    done = aws.command("status", "--function", name)
    assert (done.returncode, done.stdout) == (1, f"there is no function {name} in {REGION}: `serverless-mp deploy` makes it\n")


def test_what_is_not_named_is_kept(aws):
    """Packages, environment, network and time limit stay unchanged."""
    name = "tests-kept"
    network = ("--subnets", "subnet-1", "--security-groups", "sg-1")
    lines(aws.deploy(name, "--timeout", 60, "--environment", "A=1", "B=2", *network, kind="managed"))
    client = aws.client("lambda")
    before = client.get_function_configuration(FunctionName=name)
    done = lines(aws.command("deploy", "--function", name, "--wheel", wheel(), "--glibc", "2.36", "--memory", 512))
    assert done[0] == f"update function {name}: MemorySize"
    after = client.get_function_configuration(FunctionName=name)
    for key in ("Timeout", "Environment", "VpcConfig", "Layers", "Runtime", "Role", "CodeSha256"):
        assert after[key] == before[key], key
    # A named variable is set; the others stay.
    lines(aws.command("deploy", "--function", name, "--wheel", wheel(), "--environment", "B=3"))
    variables = client.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
    assert (variables["A"], variables["B"]) == ("1", "3")
    lines(aws.command("destroy", "--yes", "--function", name))


def test_packages_are_kept(aws, tmp_path):
    name = "tests-packages"
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("six\n")
    lines(aws.deploy(name, "--requirements", requirements, kind="managed"))
    requirements.unlink()
    assert lines(aws.command("deploy", "--function", name, "--wheel", wheel())) == [
        f"function {name} is as it should be: nothing to do"
    ]
    lines(aws.command("destroy", "--yes", "--function", name))


def test_a_damaged_manifest_is_mended(aws):
    name = "tests-damaged"
    lines(aws.deploy(name, kind="managed"))
    client = aws.client("lambda")
    variables = client.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
    damaged = variables | {"SERVERLESS_MP_DEPLOYED": "no manifest"}
    client.update_function_configuration(FunctionName=name, Environment={"Variables": damaged})
    lines(aws.command("status", "--function", name))
    assert lines(aws.deploy(name, kind="managed"))[0] == f"update function {name}: Environment"
    assert client.get_function_configuration(FunctionName=name)["Environment"]["Variables"] == variables
    client.update_function_configuration(FunctionName=name, Environment={"Variables": damaged})
    assert f"deleted role {name}-worker" in lines(aws.command("destroy", "--yes", "--function", name))


NOT_YET = [
    (
        "POST",
        r"/functions$",
        "InvalidParameterValueException",
        "The role defined for the function cannot be assumed by Lambda.",
    ),
    (
        "POST",
        r"/functions$",
        "InvalidParameterValueException",
        "The provided execution role does not have permissions to call CreateNetworkInterface on EC2",
    ),
    (
        "POST",
        r"/functions$",
        "InvalidParameterValueException",
        "Lambda was unable to configure: KMS key is invalid for CreateGrant",
    ),
    (
        "PUT",
        r"/configuration$",
        "ResourceConflictException",
        "The operation cannot be performed at this time. An update is in progress for resource",
    ),
]


def test_what_aws_does_not_know_yet_is_waited_for(aws):
    name = "tests-not-yet"
    aws.front.rules = [
        Rule(method, path, 2, 409 if "Conflict" in kind else 400, kind, message) for method, path, kind, message in NOT_YET
    ]
    lines(aws.deploy(name, kind="managed"))
    lines(aws.deploy(name, "--memory", 512, kind="managed"))
    assert [rule.times for rule in aws.front.rules] == [0] * len(NOT_YET)
    assert aws.client("lambda").get_function_configuration(FunctionName=name)["MemorySize"] == 512
    # Any other error is reported at once.
    aws.front.rules = [
        Rule("PUT", r"/configuration$", 9, 400, "InvalidParameterValueException", "Unzipped size must be smaller")
    ]
    done = aws.deploy(name, "--memory", 1024, kind="managed")
    assert (done.returncode, aws.front.rules[0].times) == (1, 8)
    assert "Unzipped size must be smaller" in done.stderr
    aws.front.rules = []
    lines(aws.command("destroy", "--yes", "--function", name))


def test_a_function_that_has_failed_is_made_again(aws):
    name = "tests-failed"
    lines(aws.deploy(name, kind="managed"))
    reason = "The function could not be restored: its image is gone"
    failed = {"State": "Failed", "StateReason": reason, "StateReasonCode": "ImageDeleted"}
    aws.front.rules = [Rule("GET", rf"/functions/{name}$", 99, fields=failed)]
    dry = lines(aws.deploy(name, "--dry-run", kind="managed"))
    assert dry == [
        f"create function {name} again (it is in state Failed: {reason}): {RUNTIME}, x86_64, 1769 MB, 900 s, no asynchronous retries"
    ]
    aws.front.rules = []
    created = aws.client("lambda").get_function(FunctionName=name)["Configuration"]["RevisionId"]
    aws.front.rules = [Rule("GET", rf"/functions/{name}$", 2, fields=failed)]  # in the plan and in its execution
    lines(aws.deploy(name, kind="managed"))
    aws.front.rules = []
    assert aws.client("lambda").get_function(FunctionName=name)["Configuration"]["RevisionId"] != created
    lines(aws.command("destroy", "--yes", "--function", name))


def test_destroy_asks_and_leaves_what_others_use(aws):
    name, client, iam = "tests-shared", aws.client("lambda"), aws.client("iam")
    lines(aws.deploy(name, kind="managed"))
    (layer,) = client.get_function_configuration(FunctionName=name)["Layers"]
    other = aws.deploy("tests-other-user", kind="managed")
    lines(other)
    client.update_function_configuration(FunctionName="tests-other-user", Layers=[layer["Arn"]])
    policy = "arn:aws:iam::aws:policy/AWSLambdaExecute"
    iam.attach_role_policy(RoleName=f"{name}-worker", PolicyArn=policy)
    refused = aws.command("destroy", "--function", name, stdin=subprocess.DEVNULL)
    assert refused.returncode == 1 and "name --yes" in refused.stderr
    gone = lines(aws.command("destroy", "--yes", "--function", name))
    assert gone[0] == f"deleted function {name}"
    assert f"kept layer {name}:1: function tests-other-user has it" in gone
    assert gone[2:4] == [f"detached policy AWSLambdaExecute from role {name}-worker", f"deleted role {name}-worker"]
    lines(aws.command("destroy", "--yes", "--function", "tests-other-user"))
    assert lines(aws.command("destroy", "--yes", "--function", name)) == [f"deleted layer {name}:1"]


def test_doctor(aws, functions, tmp_path):
    import stores

    function = functions("custom")
    with stores.server(tmp_path) as port:
        url = f"redis://:{stores.QUOTED}@127.0.0.1:{port}/0"
        done = aws.command("doctor", "--function", function, env={"SERVERLESS_MP_REDIS_URL": url})
    version = importlib.metadata.version("cloudpickle")
    assert f"ok   function {function}\n" in done.stdout
    assert f"ok   store redis://127.0.0.1:{port}/0 from here: " in done.stdout
    assert f"ok   store redis://127.0.0.1:{port}/0 from the function\n" in done.stdout
    assert " shared memory there: " in done.stdout
    assert "cloudpickle" in done.stdout and version not in done.stdout  # versions that are equal on both sides are not shown
    assert stores.PASSWORD not in done.stdout

    done = aws.command("doctor", "--function", "nowhere")
    assert done.returncode == 1
    assert "BAD  function nowhere: not there; `serverless-mp deploy` makes it\n" in done.stdout


def test_logs(aws, functions):
    function = functions("custom")
    aws.client("lambda").invoke(FunctionName=function, Payload=b"{}")  # not one of our events
    done = aws.command("logs", "--function", function)
    assert "this function runs processes of serverless_mp programs" in done.stdout
    done = aws.command("logs", "--function", "never-run")
    assert lines(done) == ["function never-run has not logged anything"]


def test_vpc_and_policy(aws):
    """The worker's policy grants the least that it needs."""
    name = "tests-vpc"
    lines(aws.deploy(name, "--subnets", "subnet-1", "subnet-2", "--security-groups", "sg-1", kind="managed"))
    configuration = aws.client("lambda").get_function_configuration(FunctionName=name)
    assert configuration["VpcConfig"]["SubnetIds"] == ["subnet-1", "subnet-2"]
    policy = aws.client("iam").get_role_policy(RoleName=f"{name}-worker", PolicyName="worker")["PolicyDocument"]
    actions = {action for statement in policy["Statement"] for action in statement["Action"]}
    assert actions == {
        "logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents", "ec2:CreateNetworkInterface", "ec2:DescribeNetworkInterfaces",
        "ec2:DeleteNetworkInterface",
    }  # fmt: skip
    lines(aws.command("destroy", "--yes", "--function", name))


def test_rights_and_disk(aws):
    """The policies of the worker's role and the size of /tmp are kept by later deployments."""
    name, right = "tests-rights", "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"
    done = lines(aws.deploy(name, "--policy", right, "--disk", 2048))
    assert done[0] == f"create role {name}-worker, with {right}"
    assert ", 2048 MB of disk, " in done[1]
    iam, client = aws.client("iam"), aws.client("lambda")

    def attached():
        return [one["PolicyArn"] for one in iam.list_attached_role_policies(RoleName=f"{name}-worker")["AttachedPolicies"]]

    assert attached() == [right]
    assert client.get_function_configuration(FunctionName=name)["EphemeralStorage"] == {"Size": 2048}
    assert lines(aws.deploy(name, "--memory", 512))[0] == f"update function {name}: MemorySize"
    assert attached() == [right]
    assert client.get_function_configuration(FunctionName=name)["EphemeralStorage"] == {"Size": 2048}
    another = "arn:aws:iam::aws:policy/AmazonDynamoDBReadOnlyAccess"
    assert lines(aws.deploy(name, "--policy", another))[0] == f"update the policies of role {name}-worker, with {another}"
    assert sorted(attached()) == sorted([right, another])
    gone = lines(aws.command("destroy", "--yes", "--function", name))
    assert f"detached policy AmazonS3ReadOnlyAccess from role {name}-worker" in gone


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--disk", "100"], "--disk 100: a function has 512 to 10240 MB of /tmp"),
        (["--policy", "AmazonS3ReadOnlyAccess"], "must be the ARN of a policy"),
        (["--policy", "arn:aws:iam::aws:policy/A", "--role", "arn:aws:iam::1:role/r"], "--policy is for the role that is made"),
    ],
)
def test_invalid_rights_and_disk(aws, options, words):
    done = aws.deploy("tests-not", *options)
    assert done.returncode == 1 and words in done.stderr


def test_architecture_follows_the_wheels(aws, tmp_path):
    """A new function gets the architecture of the wheel if none is named."""
    other = tmp_path / os.path.basename(wheel()).replace("x86_64", "aarch64")
    shutil.copy(wheel(), other)
    name = "tests-architecture"
    options = ("deploy", "--function", name, "--runtime", "python3.12", "--wheel", other, "--glibc", "2.36", "--dry-run")
    assert lines(aws.command(*options))[-1] == (
        f"create function {name}: python3.12, arm64, 1769 MB, 900 s, no asynchronous retries"
    )
    done = aws.command(*options, "--architecture", "x86_64")
    assert done.returncode == 1
    assert "the wheel must be for manylinux_2_36_x86_64 or older" in done.stderr

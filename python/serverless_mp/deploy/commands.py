"""The commands that talk to an AWS account: credentials, region, and readable errors."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import boto3
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, NoRegionError, SSOError

from . import lifecycle, queries, up
from .content import ContentError

if TYPE_CHECKING:
    import argparse

# The advice for errors of AWS, by their code.
_ADVICE = {
    "ExpiredToken": "the credentials have expired: `aws sso login`, `aws login`, or new ones",
    "ExpiredTokenException": "the credentials have expired: `aws sso login`, `aws login`, or new ones",
    "RequestExpired": "this machine's clock may be wrong, or the credentials have expired",
    "RequestTimeTooSkewed": "this machine's clock is wrong",
    "SignatureDoesNotMatch": "the secret key is not the one of this access key, or this machine's clock is wrong",
    "InvalidSignatureException": "the secret key is not the one of this access key, or this machine's clock is wrong",
    "AuthFailure": "the credentials are not valid in this region, or this machine's clock is wrong",
    "AccessDenied": "the permissions that the commands need are in docs/lambda.md",
    "AccessDeniedException": "the permissions that the commands need are in docs/lambda.md",
    "UnauthorizedOperation": "the permissions that the commands need are in docs/lambda.md",
    "VcpuLimitExceeded": "raise the quota `Running On-Demand Standard instances` of EC2 (Service Quotas)",
    "OptInRequired": "the account is not ready for this service yet; new accounts take some minutes",
}


def call(options: argparse.Namespace) -> int:
    """Runs a command. Errors are printed as one line with the remedy."""
    try:
        # The SDKs disagree: boto3 reads AWS_DEFAULT_REGION only.
        session = boto3.session.Session(region_name=os.environ.get("AWS_REGION"))
        if session.region_name is None:
            raise NoRegionError  # noqa: TRY301 - as boto3 does, but only in some calls
        return _CALLS[options.command](options, session)
    except NoCredentialsError:
        problem = (
            "no AWS credentials were found: run `aws configure`, or set AWS_PROFILE, or AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY"
        )
    except NoRegionError:
        problem = "no AWS region: set AWS_REGION, or `region` in the profile (~/.aws/config)"
    except ClientError as e:
        code, message = e.response["Error"]["Code"], e.response["Error"]["Message"]
        advice = f" ({_ADVICE[code]})" if code in _ADVICE else ""
        problem = f"AWS refuses {e.operation_name}: {code}: {message}{advice}"
    except SSOError as e:
        problem = f"{e}: `aws sso login` signs in"
    except (ValueError, ContentError, BotoCoreError) as e:
        problem = str(e)
    sys.stderr.write(f"serverless-mp: {problem}\n")
    return 1


_CALLS = {
    "up": up.up,
    "down": up.down,
    "deploy": lifecycle.deploy,
    "destroy": lifecycle.destroy,
    "status": queries.status,
    "doctor": queries.doctor,
    "logs": queries.logs,
}

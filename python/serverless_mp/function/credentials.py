"""Credentials of profiles that sign in (SSO, `aws login`). boto3 finds them; the core gets them by running this module as a
`credential_process`.
"""

from __future__ import annotations

import configparser
import importlib.util
import json
import os
import shlex
import sys
from pathlib import Path

# Keys of such profiles in the configuration of AWS.
_SIGNED_IN = ("sso_", "login_session")


def command() -> str | None:
    """The command that prints credentials; None if the core finds them by itself, or boto3 is not installed."""
    if os.environ.get("AWS_ACCESS_KEY_ID") or importlib.util.find_spec("boto3") is None:
        return None
    if not _signs_in(os.environ.get("AWS_PROFILE") or os.environ.get("AWS_DEFAULT_PROFILE") or "default"):
        return None
    # -P ignores modules in the current directory.
    return f"{shlex.quote(sys.executable)} -P -m {__name__}"


def _signs_in(profile: str) -> bool:
    """Whether a profile signs in, or takes its credentials from one that does."""
    found = configparser.RawConfigParser(strict=False)
    try:
        found.read(Path(os.environ.get("AWS_CONFIG_FILE") or "~/.aws/config").expanduser(), encoding="utf-8")
    except (configparser.Error, ValueError):
        return False
    seen = set()
    while profile and profile not in seen:
        seen.add(profile)
        section = next((name for name in (f"profile {profile}", profile) if found.has_section(name)), None)
        options = dict(found.items(section)) if section else {}
        if any(name.startswith(_SIGNED_IN) for name in options):
            return True
        profile = options.get("source_profile", "")
    return False


def main() -> None:
    """Prints the credentials. Exits with status 1 and a message on standard error if there are none."""
    import boto3  # noqa: PLC0415 - only here
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - only here

    try:
        found = boto3.session.Session().get_credentials()
        frozen = found and found.get_frozen_credentials()
    except (BotoCoreError, ClientError) as e:
        sys.exit(str(e))
    if not frozen:
        sys.exit("boto3 finds no credentials: `aws sso login` or `aws login` signs in")
    answer = {"Version": 1, "AccessKeyId": frozen.access_key, "SecretAccessKey": frozen.secret_key}
    if frozen.token:
        answer["SessionToken"] = frozen.token
    expiry = getattr(found, "_expiry_time", None)
    if expiry is not None:
        answer["Expiration"] = expiry.isoformat()
    sys.stdout.write(json.dumps(answer))


if __name__ == "__main__":
    main()

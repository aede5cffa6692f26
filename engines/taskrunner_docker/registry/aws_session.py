"""A session of boto3 with the credentials that the worker was given, from its environment or its `.env` file.

boto3 reads `os.environ` alone, which never has the variables of `.env`: every task would inherit them. So what they
name is passed to it: keys, else a profile, from the configuration files that they name. Without any of these, boto3
searches by itself: the default profile, the role of the container or of the machine.
"""

from __future__ import annotations

from collections.abc import Mapping

import boto3
from botocore.credentials import EnvProvider
from botocore.session import Session

_FILES = {"AWS_SHARED_CREDENTIALS_FILE": "credentials_file", "AWS_CONFIG_FILE": "config_file"}
"""Variable to botocore's own name."""


def aws_session(environment: Mapping[str, str]) -> boto3.Session:
    """Reads no network. Raises PartialCredentialsError (a key without its secret), ProfileNotFound."""
    session = Session()
    for variable, name in _FILES.items():
        if path := environment.get(variable):
            session.set_config_variable(name, path)
    if keys := EnvProvider(environment).load():
        session.set_credentials(keys.access_key, keys.secret_key, keys.token)
    elif profile := environment.get("AWS_PROFILE"):
        session.set_config_variable("profile", profile)
    return boto3.Session(botocore_session=session)

"""What executions depend on besides their requests: the configuration and the build."""

import json

from execution_providers.config_digest import config_digest
from lob.config import L3ExecutionConfig
from touchstone.kit.build import build_id
from touchstone.v1 import execution_pb2 as pb


def described(config: L3ExecutionConfig, version: int) -> pb.DescribeResponse:
    """Return the answer of `Describe`; reads the sources, once per process."""
    return pb.DescribeResponse(
        build=build_id(),
        config_hash=config_digest(config),
        config_json=json.dumps(config.model_dump(mode="json"), separators=(",", ":")),
        config_version=version,
    )

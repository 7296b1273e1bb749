"""Ask the simulator what it runs, now and then: a decision names the configuration behind it."""

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any, Final

import grpc

from touchstone.v1 import execution_pb2 as pb
from touchstone.v1 import execution_pb2_grpc

INTERVAL_SECONDS: Final = 1.0
DEADLINE_SECONDS: Final = 1.0
_OPTIONS: Final = (("grpc.enable_http_proxy", 0), ("grpc.max_reconnect_backoff_ms", 1_000))


async def watch_identity(address: str, tell: Callable[[Mapping[str, Any], str], None]) -> None:
    """Tell the L3 configuration and the build whenever they are others than before.

    A fill names its configuration itself; this is where the configuration's text comes from. A
    simulator that does not answer is asked again in a second. Runs until cancelled.
    """
    told: tuple[str, str] | None = None
    async with grpc.aio.insecure_channel(address, options=_OPTIONS) as channel:
        stub: Any = execution_pb2_grpc.ExecutionServiceStub(channel)  # type: ignore[no-untyped-call]
        while True:
            try:
                found = await stub.Describe(pb.DescribeRequest(), timeout=DEADLINE_SECONDS)
                if told != (found.config_json, found.build):
                    document = json.loads(found.config_json)
                    if isinstance(document, dict):
                        tell(document, found.build)
                        told = (found.config_json, found.build)
            except (grpc.RpcError, ValueError):
                pass
            await asyncio.sleep(INTERVAL_SECONDS)

"""One L3 configuration in force: its providers, its name, and what `Describe` says of it."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from execution_providers import ExecutionProvider, create_execution_provider
from execution_providers.config_digest import config_digest
from execution_providers.types import AssetClass
from lob.config import L3ExecutionConfig
from services.simulator.described import described
from touchstone.v1 import execution_pb2 as pb


@dataclass(frozen=True, slots=True)
class Configured:
    """A configuration and its providers. It never changes: another one takes its place.

    An execution keeps the one it began with. `version` is 1 for that of the start, and one more for
    each that was taken over since.
    """

    config: L3ExecutionConfig
    digest: str
    version: int
    providers: Mapping[AssetClass, ExecutionProvider]
    described: pb.DescribeResponse


def configured(config: L3ExecutionConfig, seed: int, version: int) -> Configured:
    """Return a configuration with a provider for each asset class, at level L3."""
    providers = {
        kind: create_execution_provider(kind, level="L3", config=config, seed=seed)
        for kind in AssetClass
    }
    return Configured(config, config_digest(config), version, providers, described(config, version))


def read(path: Path, seed: int, version: int) -> Configured:
    """Return what a file and the environment's `TOUCHSTONE_L3__*` configure.

    Raises:
        ConfigError: it names file or variable, key, value and what is allowed.
    """
    return configured(L3ExecutionConfig.from_yaml(path, os.environ), seed, version)

# ruff: noqa: ARG002 - the interface is the SDK's; a caller's default is never the answer here
"""The OpenFeature provider: the router's decision for whoever asks, without asking the router.

    from openfeature import api
    from openfeature.evaluation_context import EvaluationContext
    from touchstone.openfeature.provider import TouchstoneProvider

    api.set_provider_and_wait(TouchstoneProvider("redis://127.0.0.1:6379/0"))
    client = api.get_client()
    level = client.get_string_value("execution.level", "L2", EvaluationContext("AAPL"))

Give L2 (false, 0, OFF) as the default value: the SDK returns it by itself before the provider is
ready and after it was shut down.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from lob.errors import ConfigError
from touchstone.openfeature.flags import FLAGS, Question
from touchstone.openfeature.flags import evaluate as evaluate_flag
from touchstone.openfeature.reader import BackgroundControl
from touchstone.openfeature.switches import Switches, read_switches

try:
    from openfeature.evaluation_context import EvaluationContext
    from openfeature.event import ProviderEventDetails
    from openfeature.exception import FlagNotFoundError, TypeMismatchError
    from openfeature.flag_evaluation import FlagResolutionDetails, FlagValueType, Reason
    from openfeature.provider import AbstractProvider, Metadata
except ModuleNotFoundError as error:
    raise ConfigError(
        "openfeature-sdk: not installed; allowed: pip install touchstone[openfeature]"
    ) from error

NAME: Final = "touchstone"
WAIT_SECONDS: Final = 2.0
CONFIG_PATH: Final = Path("configs/config_backtest.yaml")
ROLLOUT_PATH: Final = Path("configs/l3_rollout.yaml")


class TouchstoneProvider(AbstractProvider):
    """Resolve the rollout's flags from the control state in Redis; see `docs/api.md`.

    The targeting key is the symbol, the attribute `account` who asks. An evaluation asks nobody: a
    thread keeps the state, under the same lease as a router. Unknown, stale or wrongly asked, the
    value is the one that permits nothing, whatever default the caller gave.

    Args:
        redis_url: where the control state is.
        switches: the master switches; those of the router's files and environment where not given.
        wait_seconds: how long `initialize` waits for Redis, at most.
        monotonic: seconds of this process's clock.

    Raises:
        ConfigError: the address is none, or a file of the switches is wrong.
    """

    def __init__(
        self,
        redis_url: str,
        *,
        switches: Switches | None = None,
        wait_seconds: float = WAIT_SECONDS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self._redis_url = redis_url
        self._read = switches is None
        self._switches = switches or read_switches(CONFIG_PATH, ROLLOUT_PATH)
        self._wait_seconds = wait_seconds
        self._monotonic = monotonic
        self._fresh = False
        self._control = self._new_control()

    def reload_switches(self) -> None:
        """Read the files and the environment again; a wrong file changes nothing and is raised."""
        if self._read:
            self._switches = read_switches(CONFIG_PATH, ROLLOUT_PATH)

    def get_metadata(self) -> Metadata:
        """Return the provider's name."""
        return Metadata(name=NAME)

    def initialize(self, evaluation_context: EvaluationContext) -> None:
        """Start following the state. Without Redis it is stale rather than failed, and goes on."""
        self._control.close()
        self._control = self._new_control()
        self._fresh = self._control.start(self._wait_seconds)

    def shutdown(self) -> None:
        """Stop following; from now on every flag has its safe value. May be called twice."""
        self._control.close()

    def resolve_boolean_details(
        self,
        flag_key: str,
        default_value: bool,
        evaluation_context: EvaluationContext | None = None,
    ) -> FlagResolutionDetails[bool]:
        """Resolve `use_l3_simulator`."""
        return self._resolve(flag_key, bool, evaluation_context)

    def resolve_string_details(
        self,
        flag_key: str,
        default_value: str,
        evaluation_context: EvaluationContext | None = None,
    ) -> FlagResolutionDetails[str]:
        """Resolve `execution.level` or `rollout.phase`."""
        return self._resolve(flag_key, str, evaluation_context)

    def resolve_integer_details(
        self,
        flag_key: str,
        default_value: int,
        evaluation_context: EvaluationContext | None = None,
    ) -> FlagResolutionDetails[int]:
        """Refuse: no flag is a whole number."""
        return self._resolve(flag_key, int, evaluation_context)

    def resolve_float_details(
        self,
        flag_key: str,
        default_value: float,
        evaluation_context: EvaluationContext | None = None,
    ) -> FlagResolutionDetails[float]:
        """Resolve `rollout.percentage`, a fraction 0..1."""
        return self._resolve(flag_key, float, evaluation_context)

    def resolve_object_details(
        self,
        flag_key: str,
        default_value: Sequence[FlagValueType] | Mapping[str, FlagValueType],
        evaluation_context: EvaluationContext | None = None,
    ) -> FlagResolutionDetails[Sequence[FlagValueType] | Mapping[str, FlagValueType]]:
        """Resolve `rollout.document`."""
        return self._resolve(flag_key, dict, evaluation_context)

    def _resolve(
        self, flag_key: str, kind: type, context: EvaluationContext | None
    ) -> FlagResolutionDetails[Any]:
        flag = FLAGS.get(flag_key)
        if flag is None:
            raise FlagNotFoundError(f"{flag_key}: no such flag; allowed: {', '.join(FLAGS)}")
        if flag.kind is not kind:
            raise TypeMismatchError(
                f"{flag_key}: asked for {kind.__name__}, is {flag.kind.__name__}"
            )
        control = self._control
        # First the state, then the time: what expires between the two is expired.
        config = control.routing()
        symbol = None if context is None else context.targeting_key
        account = "" if context is None else context.attributes.get("account", "")
        found = evaluate_flag(flag_key, Question(config, control.now(), symbol, account))
        return FlagResolutionDetails(
            value=found.value,
            variant=found.variant,
            # No error code: with one, the SDK would return the caller's default, which may be L3.
            reason=Reason(found.why.value),
            flag_metadata=found.metadata,
        )

    def _new_control(self) -> BackgroundControl:
        return BackgroundControl(
            self._redis_url, lambda: self._switches, self._on_change, self._monotonic
        )

    def _on_change(self, fresh: bool, changed: bool) -> None:
        metadata: dict[str, bool | str | int | float] = {
            "generation": self._control.routing().generation
        }
        before, self._fresh = self._fresh, fresh
        if changed:
            changes = ProviderEventDetails(flags_changed=list(FLAGS), metadata=metadata)
            self.emit_provider_configuration_changed(changes)
        if not fresh:
            stale = ProviderEventDetails(message="L2: the state is not known", metadata=metadata)
            self.emit_provider_stale(stale)
        elif not before:
            self.emit_provider_ready(ProviderEventDetails(metadata=metadata))

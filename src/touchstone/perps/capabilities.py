"""What a venue can do, as a table: which features an order needs, and what a probe's answer means.

A feature is used only where the venue has it. Most of them Coinbase's clients have long relied on,
so that they count as there until a probe says otherwise; the others count only once one found them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from lob.types import TimeInForce
from touchstone.perps.orders import Intent, OrderType


class Capability(StrEnum):
    """A feature of a venue."""

    MARKET = "MARKET"
    LIMIT = "LIMIT"
    STOP_LIMIT = "STOP_LIMIT"
    BRACKET = "BRACKET"
    ATTACHED = "ATTACHED"
    POST_ONLY = "POST_ONLY"
    REDUCE_ONLY = "REDUCE_ONLY"
    CLIENT_IDS = "CLIENT_IDS"
    GTC = "GTC"
    IOC = "IOC"
    FOK = "FOK"
    GTD = "GTD"
    CANCEL = "CANCEL"
    EDIT = "EDIT"
    PREVIEW = "PREVIEW"
    FUNDING = "FUNDING"


C = Capability


class Finding(StrEnum):
    """What a probe found; `UNKNOWN` where the venue gave no answer that says so."""

    SUPPORTED = "supported"
    UNSUPPORTED = "unsupported"
    UNKNOWN = "unknown"
    NOT_ASKED = "not asked"


ASSUMED: Final = frozenset(Capability) - {C.FOK, C.EDIT}
"""What counts as there before a probe has answered."""

ESSENTIAL: Final = frozenset({C.MARKET, C.LIMIT, C.GTC, C.IOC, C.CLIENT_IDS, C.CANCEL})
"""Without one of these no order can be placed and looked after safely."""


@dataclass(frozen=True, slots=True)
class Probed:
    """What was found of one feature: how it was asked for, and the venue's words."""

    finding: Finding
    how: str
    detail: str = ""

    def to_json(self) -> dict[str, str]:
        """Return it as JSON values."""
        return {"finding": self.finding.value, "how": self.how, "detail": self.detail}


def needed(intent: Intent) -> frozenset[Capability]:
    """Return the features that an order needs of the venue.

    A stop that waits in the gateway leaves as an immediate limit order.
    """
    if intent.order_type is OrderType.STOP:
        found = {C.LIMIT, C.IOC}
    else:
        found = {C(intent.order_type.value)}
        if intent.order_type is not OrderType.MARKET:
            found.add(_TIMES.get(intent.time_in_force, C.GTC))
        elif intent.time_in_force is TimeInForce.FOK:
            found.add(C.FOK)
    if intent.post_only:
        found.add(C.POST_ONLY)
    if intent.attached is not None:
        found.add(C.ATTACHED)
    return frozenset(found)


def missing(intent: Intent, capabilities: Iterable[str]) -> str:
    """Return what an order needs and the venue does not have, with commas between; '' for none.

    Reduce-only is not among it: where the venue does not know the flag, the gateway's own check
    keeps the promise.
    """
    held = frozenset(capabilities)
    lacking = needed(intent) - held
    if not lacking:
        return ""
    return ", ".join(one for one in Capability if one in lacking)


def effective(probed: Mapping[Capability, Probed]) -> frozenset[Capability]:
    """Return what may be used: what was found, and what is assumed where nobody knows."""
    usual = {one: one in ASSUMED for one in Capability}
    found = {
        one: answer.finding is Finding.SUPPORTED
        for one, answer in probed.items()
        if answer.finding in _CLEAR
    }
    return frozenset(one for one, used in (usual | found).items() if used)


def is_usable(probed: Mapping[Capability, Probed]) -> bool:
    """Return whether everything essential that was asked for was found, and something was asked."""
    asked = [probed[one].finding for one in ESSENTIAL if one in probed]
    return bool(asked) and all(
        finding in (Finding.SUPPORTED, Finding.NOT_ASKED) for finding in asked
    )


def to_json(probed: Mapping[Capability, Probed]) -> dict[str, Any]:
    """Return the table as JSON values, every feature in it."""
    used = effective(probed)
    return {
        "usable": is_usable(probed),
        "features": {
            one.value: {
                **probed.get(one, NOT_ASKED).to_json(),
                "essential": one in ESSENTIAL,
                "used": one in used,
            }
            for one in Capability
        },
    }


NOT_ASKED: Final = Probed(Finding.NOT_ASKED, "assumed")
_CLEAR: Final = frozenset({Finding.SUPPORTED, Finding.UNSUPPORTED})
_TIMES: Final = {
    TimeInForce.GTC: C.GTC,
    TimeInForce.IOC: C.IOC,
    TimeInForce.FOK: C.FOK,
    TimeInForce.GTD: C.GTD,
}

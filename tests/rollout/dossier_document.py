"""The least dossier that can be written and shown."""

from typing import Any

from touchstone.rollout.dossier import orders_to_json


def document(name: str, reason: str = "r") -> dict[str, Any]:
    """Return the least dossier that can be written."""
    return {
        "id": name,
        "kind": "emergency",
        "router": "router:h:1:00000000",
        "written_at": 1.0,
        "rollback": {"generation": 1, "actor": "a", "reason": reason, "at": 1.0},
        "trigger": None,
        "windows": [],
        "readings": [],
        "evidence": {
            "verdict": {"outcome": "HOLD", "reason": "none", "blocks": 0, "orders": 0},
            "config": {"harm_bps": 0.0, "margin_bps": 0.5},
            "curve": [
                {"blocks": n, "mean_bps": 0.5, "lower_bps": None, "upper_bps": 2.0}
                for n in (1, 2, 3)
            ],
        },
        "orders": orders_to_json([]),
        "worst_pairs": [],
        "flags": {"diff": []},
        "timeline": [],
        "timeline_incomplete": "",
    }

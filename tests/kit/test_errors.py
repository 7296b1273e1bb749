"""The fault table is total and tells the truth."""

import grpc
import pytest

from lob import errors
from touchstone.kit.errors import OUTCOMES, describe, outcome_of


def all_faults(cls: type[errors.Fault] = errors.Fault) -> set[type[errors.Fault]]:
    """Return a fault class with every class below it."""
    return {cls}.union(*(all_faults(child) for child in cls.__subclasses__()))


def test_every_fault_class_of_the_tree_has_a_row() -> None:
    """No fault of `lob.errors`, nor of the kit's own, is left to the default."""
    modules = ("lob.errors", "touchstone.kit.errors")
    own = {cls for cls in all_faults() if cls.__module__ in modules}
    assert own == set(OUTCOMES)


@pytest.mark.parametrize("cls", list(OUTCOMES))
def test_rows_use_real_protocol_names(cls: type[errors.Fault]) -> None:
    """Each gRPC name exists and each HTTP status is an error status."""
    outcome = OUTCOMES[cls]
    assert hasattr(grpc.StatusCode, outcome.grpc_status)
    assert 400 <= outcome.http_status < 600


def test_a_new_fault_inherits_its_ancestors_row() -> None:
    """A subclass without a row is treated as what it is a kind of."""

    class VenueBusy(errors.Overloaded):
        """A test's own fault."""

    assert OUTCOMES[errors.Overloaded] == outcome_of(VenueBusy("busy"))


def test_the_json_body_names_code_message_and_retryable() -> None:
    """Clients can act on the body without parsing prose."""
    body = describe(errors.Unavailable("no venue"))
    expected = {"code": errors.Unavailable.code, "message": "no venue", "retryable": True}
    assert {"error": expected} == body

import pytest

from schemas import errors
from schemas.intake import Request
from schemas.states import RECEIPT_STATES, STATE, TERMINAL, Detailed, is_final


def test_every_state_is_one_of_the_contracts_six():
    assert set(STATE) == set(Detailed)
    assert set(STATE.values()) == {"NEW", "PENDING", "DELIVERED", "EXPIRED", "UNDELIVERABLE", "REJECTED"}


@pytest.mark.parametrize(
    ("coarse", "exact"),
    [
        ("NEW", "ACCEPTED SCHEDULED QUEUED"),
        ("PENDING", "SUBMITTED ENROUTE BUFFERED IN_DOUBT"),
        ("DELIVERED", "DELIVERED"),
        ("EXPIRED", "EXPIRED NO_RECEIPT"),
        ("UNDELIVERABLE", "UNDELIVERABLE DELETED FAILED"),
        ("REJECTED", "REJECTED BLOCKED CANCELED"),
    ],
)
def test_the_table_of_the_contract(coarse, exact):
    assert {state.name for state, name in STATE.items() if name == coarse} == set(exact.split())


def test_final_is_what_is_neither_new_nor_pending():
    assert {s for s in Detailed if is_final(s)} == {s for s in Detailed if STATE[s] not in ("NEW", "PENDING")}
    assert all(is_final(state) == (state >= TERMINAL) for state in Detailed)


def test_stored_numbers_stay():
    assert {state.name: int(state) for state in Detailed} == {
        "ACCEPTED": 1, "SCHEDULED": 2, "QUEUED": 3, "IN_DOUBT": 9, "SUBMITTED": 10, "BUFFERED": 11, "ENROUTE": 12,
        "DELIVERED": 20, "EXPIRED": 30, "NO_RECEIPT": 31, "UNDELIVERABLE": 40, "DELETED": 41, "FAILED": 42,
        "REJECTED": 50, "BLOCKED": 51, "CANCELED": 52,
    }  # fmt: skip


def test_a_receipt_never_brings_a_message_back_to_us():
    assert all(state > Detailed.SUBMITTED for state in RECEIPT_STATES.values())


def test_every_error_code_is_explained():
    codes = {v for k, v in vars(errors).items() if k.isupper() and isinstance(v, int)}
    assert codes == set(errors.CATALOGUE)


def test_recipient_stands_for_recipients():
    assert Request.model_validate({"account": "a", "recipient": "+39", "message": "m"}).recipients == ["+39"]


def test_names_on_the_wire_are_camel_case():
    with pytest.raises(ValueError, match="request_id"):
        Request.model_validate({"account": "a", "recipient": "+39", "message": "m", "request_id": "r"})

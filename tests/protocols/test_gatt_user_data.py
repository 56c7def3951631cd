"""The User Control Point and a person's data, against bytes made by hand."""

from decimal import Decimal

import pytest

from protocols.errors import DecodeError, Fault
from protocols.gatt import user_data
from protocols.gatt.user_data import Op, Request, Response, decode_control_point


@pytest.mark.parametrize(
    ("request_", "raw"),
    [
        (Request(Op.REGISTER_NEW_USER, consent_code=1234), "01 d2 04"),
        (Request(Op.CONSENT, user=2, consent_code=9999), "02 02 0f 27"),
        (Request(Op.DELETE_USER_DATA), "03"),
        (Request(Op.LIST_ALL_USERS), "04"),
        (Request(Op.DELETE_USERS, user=1), "05 01"),
        (
            Request(Op.REGISTER_NEW_USER_WITH_INDEX, user=3, consent_code=0),
            "40 03 00 00",
        ),
    ],
    ids=str,
)
def test_a_request_is_these_bytes_in_both_directions(
    request_: Request, raw: str
) -> None:
    assert request_.encode() == bytes.fromhex(raw)
    assert decode_control_point(bytes.fromhex(raw), omron=True) == (request_, b"")


@pytest.mark.parametrize(
    "request_",
    [
        Request(Op.RESPONSE),
        Request(Op.REGISTER_NEW_USER),
        Request(Op.REGISTER_NEW_USER, user=1, consent_code=1),
        Request(Op.CONSENT, user=1),
        Request(Op.CONSENT, user=256, consent_code=1),
        Request(Op.CONSENT, user=1, consent_code=10000),
        Request(Op.CONSENT, user=1, consent_code=-1),
        Request(Op.LIST_ALL_USERS, user=1),
    ],
    ids=str,
)
def test_a_request_with_too_little_or_too_much_is_our_mistake(
    request_: Request,
) -> None:
    with pytest.raises(ValueError, match=r".+") as caught:
        request_.encode()
    assert "10000" not in str(caught.value)


def test_a_consent_code_is_not_shown_by_chance() -> None:
    """It opens the data of a person, and a request may end up in a log."""
    assert "1234" not in repr(Request(Op.CONSENT, user=1, consent_code=1234))


@pytest.mark.parametrize(
    ("raw", "user"),
    [
        ("20 01 01 02", 2),
        ("20 40 01 03", 3),
        ("20 01 01", None),
        ("20 01 04 02", None),
        ("20 04 01 02", None),
    ],
)
def test_only_a_registration_that_succeeded_brings_a_user(
    raw: str, user: int | None
) -> None:
    """The readings of a user that was never made would be nobody's."""
    answer, _ = decode_control_point(bytes.fromhex(raw))

    assert isinstance(answer, Response)
    assert answer.user == user


@pytest.mark.parametrize(
    ("raw", "fault"),
    [
        ("", Fault.TRUNCATED),
        ("02 01 d2", Fault.TRUNCATED),
        ("20 01", Fault.TRUNCATED),
        ("02 01 10 27", Fault.OUT_OF_RANGE),
        ("06", Fault.RESERVED_VALUE),
        ("40 03 d2 04", Fault.RESERVED_VALUE),
    ],
)
def test_what_is_no_message_is_refused(raw: str, fault: Fault) -> None:
    with pytest.raises(DecodeError) as caught:
        decode_control_point(bytes.fromhex(raw))
    assert caught.value.fault == fault


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("20 04 01 02 09", {"response": "success", "parameter": "0209"}),
        ("20 02 06", {"response": "reserved"}),
        ("20 01 01 02 aa", {"user_index": 2, "trailing_bytes": 1}),
        ("03 aa", {"op": "delete_user_data", "trailing_bytes": 1}),
    ],
)
def test_what_stands_behind_an_answer_is_shown(
    raw: str, shown: dict[str, object]
) -> None:
    found = user_data.KINDS["gatt.user_control_point"].show(bytes.fromhex(raw))

    assert {name: found.get(name) for name in shown} == shown


def test_the_numbers_of_a_person_are_exact() -> None:
    assert str(user_data.decode_weight(b"\xb1\x36")[0]) == "70.005"
    assert user_data.decode_height(b"\xaf\x00") == (Decimal("1.75"), b"")
    assert user_data.decode_date_of_birth(b"\xbc\x07\x02\x1e") == ((1980, 2, 30), b"")
    assert user_data.decode_user_index(b"\xff") == (255, b"")
    assert user_data.decode_change_increment(b"\x01\x00\x00\x80") == (2**31 + 1, b"")

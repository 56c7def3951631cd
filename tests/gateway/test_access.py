"""Tokens, roles and consents: all is denied that nothing allows."""

import pytest

from gateway.access import (
    LOCAL,
    Access,
    Forbidden,
    Grant,
    Principal,
    Purpose,
    Role,
    Unauthorised,
)
from gateway.registry import Taken
from protocols.observation import Kind
from tests.gateway.people import DAY_MS, NOW_MS, Clinic, nobodys
from tests.gateway.stations import METER, MINUTE_MS, START_MS, glucose, pressure


@pytest.fixture(params=["sqlite_store", "postgres_store"])
def clinic(request: pytest.FixtureRequest) -> Clinic:
    """Each test here holds for both engines."""
    return Clinic(request.getfixturevalue(request.param))


def test_a_token_says_who_asks(clinic: Clinic) -> None:
    principal, header = clinic.token(Role.OPERATOR, Role.STEWARD)

    assert clinic.access.authenticate(header) == principal
    assert clinic.access.authenticate(header.replace("Bearer", "bearer")) == principal
    assert principal.tenant == "clinic"
    assert principal.roles == {Role.OPERATOR, Role.STEWARD}


def test_a_token_is_kept_by_its_digest_alone(clinic: Clinic) -> None:
    """Who reads the database, or a backup of it, must not be able to come in."""
    _, header = clinic.token(Role.STEWARD)
    token = header.removeprefix("Bearer ")

    assert len(token) == len("vw_") + 43
    (row,) = clinic.store.database.rows("SELECT * FROM principal")
    assert token not in str(row)
    assert token.encode() not in b"".join(v for v in row if isinstance(v, bytes))


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer vw_",
        f"Bearer vw_{'A' * 43}",
        f"Basic vw_{'A' * 43}",
        f"Bearer vw_{'A' * 43} and more",
        f"Bearer {'A' * 46}",
        "Bearer vw_" + "A" * 100_000,
    ],
)
def test_nobody_comes_in_without_a_token(clinic: Clinic, header: str | None) -> None:
    clinic.token(Role.STEWARD)

    with pytest.raises(Unauthorised):
        clinic.access.authenticate(header)


def test_a_token_ends_by_itself_or_at_once(clinic: Clinic) -> None:
    one, first = clinic.token(Role.STEWARD, name="one")
    _, second = clinic.token(Role.STEWARD, name="two")
    with clinic.store.database.change() as change:
        assert clinic.access.principals.revoke(change, one.id, "clinic")

    with pytest.raises(Unauthorised, match="revoked"):
        clinic.access.authenticate(first)
    clinic.now_ms = NOW_MS + 30 * DAY_MS - 1
    clinic.access.authenticate(second)
    clinic.now_ms += 1
    with pytest.raises(Unauthorised, match="expired"):
        clinic.access.authenticate(second)


def test_nobody_revokes_what_is_not_theirs(clinic: Clinic) -> None:
    one, header = clinic.token(Role.STEWARD)
    with clinic.store.database.change() as change:
        assert not clinic.access.principals.revoke(change, one.id, "other")

    clinic.access.authenticate(header)


def test_this_machine_needs_no_token_only_where_that_was_said(clinic: Clinic) -> None:
    here = Access(clinic.store.database, open_local=True)

    assert here.authenticate(None) == LOCAL
    # A wrong token is not made good by where it comes from.
    with pytest.raises(Unauthorised):
        here.authenticate("Bearer wrong")


def test_a_name_is_given_once(clinic: Clinic) -> None:
    """The audit log tells names."""
    clinic.token(Role.STEWARD, name="desk")

    with pytest.raises(Taken, match="desk"):
        clinic.token(Role.OPERATOR, name="desk")
    Clinic(clinic.store, "other").token(Role.OPERATOR, name="desk")


@pytest.mark.parametrize(
    ("roles", "programme"),
    [
        (set(), None),
        ({Role.READER}, None),
        ({Role.READER, Role.STEWARD}, 1),
        ({Role.READER, Role.OPERATOR}, None),
        ({Role.STEWARD}, 1),
    ],
)
def test_a_reader_is_a_programmes_and_nothing_else(
    roles: set[Role], programme: int | None
) -> None:
    with pytest.raises(ValueError, match=r"role|programme"):
        Principal(0, "clinic", "odd", frozenset(roles), programme)


def test_a_role_allows_nothing_of_the_others(clinic: Clinic) -> None:
    for role in (Role.OPERATOR, Role.STEWARD):
        who, _ = clinic.token(role)
        clinic.access.require(who, role)
        for other in {*Role} - {role}:
            with pytest.raises(Forbidden, match=other.value):
                clinic.access.require(who, other)


def test_a_steward_sees_the_patients_of_its_tenant(clinic: Clinic) -> None:
    other = Clinic(clinic.store, "other")
    mine, theirs = clinic.patient("P-1"), other.patient("P-1")
    who, _ = clinic.token(Role.STEWARD)

    assert clinic.access.visible(who, NOW_MS) is None
    clinic.access.may_see(who, mine.id, Kind.GLUCOSE, NOW_MS)
    for number in (theirs.id, 9_999):
        with pytest.raises(Forbidden):
            clinic.access.may_see(who, number, None, NOW_MS)


def test_an_operator_sees_no_patient(clinic: Clinic) -> None:
    patient = clinic.patient("P-1")
    who, _ = clinic.token(Role.OPERATOR)

    assert clinic.access.visible(who, NOW_MS) == frozenset()
    with pytest.raises(Forbidden):
        clinic.access.may_see(who, patient.id, None, NOW_MS)


def test_a_reader_sees_who_consented_to_its_programme(clinic: Clinic) -> None:
    yes, no = clinic.patient("P-1"), clinic.patient("P-2")
    ours, others = clinic.programme("ours"), clinic.programme("others")
    clinic.consent(yes, ours)
    clinic.consent(no, others)
    who, _ = clinic.token(Role.READER, programme=ours)

    assert clinic.access.visible(who, NOW_MS) == {yes.id}
    clinic.access.may_see(who, yes.id, Kind.GLUCOSE, NOW_MS)
    with pytest.raises(Forbidden):
        clinic.access.may_see(who, no.id, None, NOW_MS)


def test_a_consent_ends_at_once_when_it_is_withdrawn(clinic: Clinic) -> None:
    patient, programme = clinic.patient("P-1"), clinic.programme("study")
    given = clinic.consent(patient, programme)
    who, _ = clinic.token(Role.READER, programme=programme)
    assert clinic.access.granted(who, patient.id, NOW_MS) == (Grant(),)

    with clinic.store.database.change() as change:
        assert clinic.consents.withdraw(change, given.id, patient.id, "desk", NOW_MS)

    assert clinic.access.granted(who, patient.id, NOW_MS) == ()
    assert clinic.access.visible(who, NOW_MS) == frozenset()
    (kept,) = clinic.consents.of_patient(patient.id)
    assert kept.withdrawn_ms == NOW_MS
    assert not kept.holds(NOW_MS)


def test_a_consent_holds_from_when_it_was_given_until_it_expires(
    clinic: Clinic,
) -> None:
    patient, programme = clinic.patient("P-1"), clinic.programme("study")
    clinic.consent(patient, programme, expires_ms=NOW_MS + 10)
    who, _ = clinic.token(Role.READER, programme=programme)

    for at_ms, sees in ((-1, False), (0, True), (9, True), (10, False)):
        found = clinic.access.visible(who, NOW_MS + at_ms)
        assert found == ({patient.id} if sees else frozenset()), at_ms


def test_a_consent_is_for_its_kinds_and_times(clinic: Clinic) -> None:
    """Who agreed to show their glucose of March has not shown anything else."""
    patient, programme = clinic.patient("P-1"), clinic.programme("study")
    until_ms = START_MS + 2 * MINUTE_MS
    clinic.send(*(nobodys(glucose(number)) for number in (1, 2, 3)))
    clinic.send(nobodys(pressure(1, 120, 80, 60, device=METER)))
    clinic.attribute(patient, METER.id)
    grant = Grant(frozenset({Kind.GLUCOSE}), START_MS, until_ms)
    clinic.consent(patient, programme, grant)
    who, _ = clinic.token(Role.READER, programme=programme)
    steward, _ = clinic.token(Role.STEWARD)
    all_kept = clinic.chart.readings(patient, [Grant()], (-1, 0), 10).rows
    assert len(all_kept) == 4

    seen = clinic.access.seen(who, patient.id, all_kept, NOW_MS)

    assert [one.reading.observation.sequence for one in seen] == [1]
    assert clinic.access.seen(steward, patient.id, all_kept, NOW_MS) == all_kept
    clinic.access.may_see(who, patient.id, Kind.GLUCOSE, NOW_MS)
    with pytest.raises(Forbidden):
        clinic.access.may_see(who, patient.id, Kind.BLOOD_PRESSURE, NOW_MS)


def test_what_has_no_time_is_in_no_interval() -> None:
    assert Grant().covers(Kind.GLUCOSE, None)
    assert not Grant(from_ms=1).covers(Kind.GLUCOSE, None)
    assert not Grant(until_ms=1).covers(Kind.GLUCOSE, None)


def test_two_consents_do_not_make_a_third(clinic: Clinic) -> None:
    """Glucose of now and pressures of then is not everything of ever."""
    patient, programme = clinic.patient("P-1"), clinic.programme("study")
    clinic.consent(patient, programme, Grant(frozenset({Kind.GLUCOSE}), NOW_MS, None))
    clinic.consent(
        patient, programme, Grant(frozenset({Kind.BLOOD_PRESSURE}), None, NOW_MS)
    )
    who, _ = clinic.token(Role.READER, programme=programme)

    grants = clinic.access.granted(who, patient.id, NOW_MS)

    def covered(kind: Kind, at_ms: int) -> bool:
        return any(grant.covers(kind, at_ms) for grant in grants)

    assert covered(Kind.GLUCOSE, NOW_MS)
    assert not covered(Kind.GLUCOSE, NOW_MS - 1)
    assert covered(Kind.BLOOD_PRESSURE, NOW_MS - 1)
    assert not covered(Kind.BLOOD_PRESSURE, NOW_MS)


def test_research_is_shown_no_names(clinic: Clinic) -> None:
    patient = clinic.patient(
        "P-1", family="Muster", given="Eva", birth_date="1951", gender="female",
        identifiers=(("urn:oid:1", "77"),),
    )  # fmt: skip
    study = clinic.programme("study", Purpose.RESEARCH)
    ward = clinic.programme("ward")
    reader, _ = clinic.token(Role.READER, programme=study)
    nurse, _ = clinic.token(Role.READER, programme=ward)

    shown = clinic.access.shown(reader, patient)

    assert (shown.id, shown.name, shown.gender) == (patient.id, "P-1", "female")
    assert (shown.family, shown.given, shown.birth_date) == ("", "", "")
    assert shown.identifiers == ()
    assert clinic.access.shown(nurse, patient) == patient

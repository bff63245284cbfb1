"""Teams and users."""

import asyncio
from uuid import UUID, uuid4

import pytest

from actions import people
from db.people import team_members, teams, users
from domain.access import Role
from domain.errors import Conflict, ValidationFailed


async def test_a_team_has_its_members_once_each(studio, ada):
    id = await studio.do(people.create_team, "Payments", description="Money", member_ids=[ada.id, ada.id])
    assert (await studio.row(teams, id))["description"] == "Money"
    assert [row["user_id"] for row in await studio.rows(team_members, team_id=id)] == [ada.id]
    [audit] = await studio.audit(subject_id=id)
    assert audit["after"] == {"name": "Payments", "description": "Money", "members": [str(ada.id)]}


async def test_a_user_is_made_without_credentials(studio):
    id = await studio.do(people.create_user, "grace@example.org", "Grace Hopper")
    user = await studio.row(users, id)
    assert (user["role"], user["password_hash"], user["is_active"]) == (Role.VIEWER, None, True)


async def test_of_twenty_who_take_one_address_at_once_one_gets_it(studio):
    addresses = ["ada@example.org", "ADA@example.org"] * 10
    outcomes = await asyncio.gather(
        *(studio.do(people.create_user, address, "Ada") for address in addresses), return_exceptions=True
    )
    assert sum(isinstance(outcome, UUID) for outcome in outcomes) == 1
    conflicts = [outcome for outcome in outcomes if isinstance(outcome, Conflict)]
    assert len(conflicts) == 19
    [taken] = await studio.rows(users)
    assert conflicts[0].message == f'There is a user with the email "{taken["email"]}" already'
    assert conflicts[0].path == ("email",)


async def test_team_names_are_given_once_in_any_case(studio):
    await studio.do(people.create_team, "Payments")
    with pytest.raises(Conflict, match='There is a team with the name "Payments" already'):
        await studio.do(people.create_team, "payments")


@pytest.mark.parametrize("address", ["", "ada", "ada@", "a b@example.org", "a@b@c", "x" * 200 + "@y"])
async def test_an_address_that_is_none_is_refused(studio, address):
    with pytest.raises(ValidationFailed) as refusal:
        await studio.do(people.create_user, address, "Ada")
    assert refusal.value.path == ("email",)


async def test_members_are_users(studio, ada):
    with pytest.raises(ValidationFailed) as refusal:
        await studio.do(people.create_team, "Payments", member_ids=[ada.id, uuid4()])
    assert refusal.value.path == ("memberIds", "1")

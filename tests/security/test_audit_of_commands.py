"""What operators do at the command line is in the audit log as well."""

from typing import Any

import orjson

from app.accounts import add_token, add_user, revoke_token, set_active, set_password, set_role
from app.postgres import begin_configured_epoch
from app.settings import Settings
from db.database import Database
from domain.access import Role, TokenScope
from tests.security.signing import ADA, PASSWORD


async def written(database: Database) -> list[tuple[str, Any, Any]]:
    """What the command line has done: the action, before and after."""
    wanted = """select json_agg(json_build_array(action, before, after) order by id)::text
    from audit_log where actor_name = 'command line'"""
    async with database.reading() as connection:
        text = (await connection.exec_driver_sql(wanted)).scalar_one()
    return [tuple(entry) for entry in orjson.loads(text or "[]")]


async def test_commands_about_users_and_tokens_leave_entries(database: Database, database_url: str):
    settings = Settings(database_url=database_url)
    await add_user(settings, ADA, "Ada", Role.VIEWER, PASSWORD)
    await set_role(settings, ADA, Role.RESPONDER)
    await set_active(settings, ADA, False)
    await set_active(settings, ADA, True)
    await set_password(settings, ADA, "another horse battery")
    token_id, secret = await add_token(settings, ADA, "ci", [TokenScope.READ], None)
    await revoke_token(settings, token_id)
    entries = await written(database)
    assert [action for action, _, _ in entries] == [
        "user.create",
        "user.set_password",
        "user.set_role",
        "user.disable",
        "user.enable",
        "user.set_password",
        "api_token.create",
        "api_token.revoke",
    ]
    changes = {action: (before, after) for action, before, after in entries}
    assert changes["user.set_role"] == ({"role": "VIEWER"}, {"role": "RESPONDER"})
    assert changes["user.disable"] == ({"is_active": True}, {"is_active": False})
    assert changes["user.enable"] == ({"is_active": False}, {"is_active": True})
    assert all(hidden not in str(entries) for hidden in (PASSWORD, "another horse battery", secret))


async def test_another_epoch_of_the_event_log_leaves_an_entry(database: Database, database_url: str):
    await begin_configured_epoch(Settings(database_url=database_url))
    [(action, before, after)] = await written(database)
    assert (action, before, set(after)) == ("event_log.begin_epoch", None, {"epoch", "position"})

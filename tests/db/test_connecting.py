"""The forms of database URLs."""

import pytest

from db.connecting import driver_url


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("postgresql://u:p@db:5433/name", "postgresql://u:p@db:5433/name"),
        ("postgres://u:p@db/name", "postgresql://u:p@db/name"),
        ("postgresql+asyncpg://u@db/name", "postgresql://u@db/name"),
        (
            "postgresql://u@/name?host=/run/postgresql&port=5433",
            "postgresql://u@/name?host=%2Frun%2Fpostgresql&port=5433",
        ),
        ("postgresql:///name?host=/tmp/x", "postgresql:///name?host=%2Ftmp%2Fx"),
        ("postgresql://u@db/name?sslmode=verify-full", "postgresql://u@db/name?sslmode=verify-full"),
        ("postgresql+asyncpg://u@db/name?ssl=require", "postgresql://u@db/name?sslmode=require"),
        ("postgresql://u@db/name?sslmode=require&channel_binding=require", "postgresql://u@db/name?sslmode=require"),
        ("postgresql://u:p%40ss%2F@[::1]:5432/name", "postgresql://u:p%40ss%2F@[::1]:5432/name"),
    ],
)
def test_every_usual_form_of_url_is_understood(given: str, expected: str) -> None:
    assert driver_url(given) == expected


@pytest.mark.parametrize("url", ["mysql://u:secret@db/name", "u:secret@db/name", "postgresql://u:sec/ret@db/name"])
def test_another_url_is_refused_without_repeating_its_secret(url: str) -> None:
    with pytest.raises(ValueError, match="database URL") as refused:
        driver_url(url)
    assert "sec" not in str(refused.value)

"""The command line for analyses, run as its users run it."""

import zlib
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import insert
from typer.testing import CliRunner

from app.cli import cli
from db.correlation import analyses, analysis_records
from db.database import Database
from db.incidents import incidents
from domain.correlation import AnalysisStatus
from domain.incidents import IncidentSource, Severity
from engines.correlation import ENGINE_VERSION, analyse
from engines.correlation.evidence import Signal
from engines.correlation.record import digest, read_analysis, write
from tests.engines.correlation.shops import shop
from tests.schema.conftest import NOON
from tests.servers import run_command


async def stored(database: Database, *, changed: bool = False, engine: str = ENGINE_VERSION) -> str:
    """The id of an analysis that is stored with its evidence, and with another answer where it is `changed`."""
    evidence = shop({("stock", Signal.ERROR_RATIO): 0.4, ("web", Signal.ERROR_RATIO): 0.2})
    told, answered = write(evidence), write(analyse(evidence))
    if changed:
        answered = answered.replace(b"stock", b"price").replace(ENGINE_VERSION.encode(), engine.encode())
    async with database.writing(NOON) as tx:
        incident = await tx.insert(
            incidents, number=7, title="It hurts", severity=Severity.HIGH, source=IncidentSource.MANUAL, started_at=NOON
        )
        ended = {"status": AnalysisStatus.COMPLETE, "engine_version": engine, "completed_at": NOON, "confidence": 0.5}
        row = await tx.insert(analyses, incident_id=incident["id"], started_at=NOON, **ended)
        await tx.execute(
            insert(analysis_records).values(
                analysis_id=row["id"],
                evidence=zlib.compress(told),
                evidence_digest=digest(told),
                answer=zlib.compress(answered),
                answer_digest=digest(answered),
                created_at=NOON,
            )
        )
    return str(row["id"])


def test_the_help_gives_an_example() -> None:
    ran = CliRunner().invoke(cli, ["analyses", "replay", "--help"])

    assert ran.exit_code == 0
    assert "reliability-studio analyses replay" in ran.output


async def test_a_stored_analysis_is_given_again_byte_for_byte(
    database: Database, database_url: str, tmp_path: Path
) -> None:
    id = await stored(database)
    answer = tmp_path / "answer.json"

    settings = {"DATABASE_URL": database_url}
    code, _, told = await run_command("analyses", "replay", id, "--answer", str(answer), settings=settings)

    assert (code, "The same answer, byte for byte" in told) == (0, True), told
    assert "errors at stock" in told
    assert read_analysis(answer.read_bytes()).ranking[0] == "stock"


@pytest.mark.parametrize(
    ("engine", "said"), [(ENGINE_VERSION, "was changed, or this is a defect"), ("0.9", "0.9 then")]
)
async def test_an_answer_that_differs_is_told_from_one_by_another_engine(
    database: Database, database_url: str, engine: str, said: str
) -> None:
    id = await stored(database, changed=True, engine=engine)

    code, _, told = await run_command("analyses", "replay", id, settings={"DATABASE_URL": database_url})

    assert (code, said in told) == (1, True), told


async def test_an_analysis_whose_evidence_is_not_kept_is_said_to_be_missing(database_url: str) -> None:
    code, _, told = await run_command("analyses", "replay", str(uuid4()), settings={"DATABASE_URL": database_url})

    assert (code, "Evidence is kept of the last 20 analyses" in told) == (1, True), told

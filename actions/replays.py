"""A stored analysis given again from its evidence: the same answer byte for byte, or the reason why not."""

import asyncio
import zlib
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from actions.investigate import answer
from db.correlation import analyses, analysis_records
from db.incidents import incidents
from domain.errors import NotFound
from engines.correlation import ENGINE_VERSION, Analysis
from engines.correlation.record import digest, read_analysis, read_evidence, write


@dataclass(frozen=True, slots=True)
class Replay:
    """What was answered then and what is answered now, to the same evidence, and the digests of both as written."""

    analysis_id: UUID
    incident_number: int
    evidence_digest: str
    then: Analysis
    now: Analysis
    digest_then: str
    digest_now: str

    @property
    def is_same(self) -> bool:
        """Whether both are the same, byte for byte."""
        return self.digest_then == self.digest_now

    @property
    def has_other_engine(self) -> bool:
        """Whether another version of the engine answered then."""
        return self.then.engine_version != ENGINE_VERSION


async def replay(connection: AsyncConnection, analysis_id: UUID) -> Replay:
    """Give the answer of an analysis again. Raises NotFound where there is none, or its evidence is not kept."""
    statement = (
        select(analysis_records, incidents.c.number)
        .join(analyses, analyses.c.id == analysis_records.c.analysis_id)
        .join(incidents, incidents.c.id == analyses.c.incident_id)
        .where(analysis_records.c.analysis_id == analysis_id)
    )
    record = (await connection.execute(statement)).mappings().first()
    if record is None:
        raise NotFound("stored analysis", analysis_id)
    return await asyncio.to_thread(_replay, analysis_id, record["number"], record["evidence"], record["answer"])


def _replay(analysis_id: UUID, number: int, evidence: bytes, answered: bytes) -> Replay:
    told, then = zlib.decompress(evidence), zlib.decompress(answered)
    now = answer(read_evidence(told))
    return Replay(
        analysis_id=analysis_id,
        incident_number=number,
        evidence_digest=digest(told),
        then=read_analysis(then),
        now=now,
        digest_then=digest(then),
        digest_now=digest(write(now)),
    )

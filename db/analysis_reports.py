"""What analyses say taken together: past incidents like one, two runs side by side, and how often they were right."""

from typing import Final

SIMILAR_INCIDENTS_SQL: Final = """(
  select past.id, past.id as incident_id,
    least(1.0, 0.4 * found.shared_services / greatest(found.all_services, 1)
      + 0.25 * found.has_same_service::int + 0.15 * found.has_same_cause::int
      + 0.2 * least(found.shared_patterns, 3) / 3.0)::double precision as score,
    found.shared_services::int as shared_services, found.has_same_cause, found.shared_patterns::int as shared_patterns,
    past.resolution
  from incidents past cross join lateral (
    select
      (select count(*) from incidents_services mine join incidents_services its on its.service_id = mine.service_id
        where mine.incident_id = {incident} and its.incident_id = past.id) as shared_services,
      (select count(distinct service_id) from incidents_services
        where incident_id in ({incident}, past.id)) as all_services,
      exists(select from analyses a join root_causes mine on mine.analysis_id = a.id and mine.rank = 1,
        analyses b join root_causes its on its.analysis_id = b.id and its.rank = 1
        where a.incident_id = {incident} and a.is_shown and b.incident_id = past.id and b.is_shown
        and its.service_id = mine.service_id) as has_same_service,
      exists(select from analyses a join root_causes mine on mine.analysis_id = a.id and mine.rank = 1,
        analyses b join root_causes its on its.analysis_id = b.id and its.rank = 1
        where a.incident_id = {incident} and a.is_shown and b.incident_id = past.id and b.is_shown
        and its.service_id = mine.service_id and its.kind = mine.kind) as has_same_cause,
      (select count(distinct (mine.service_id, mine.name)) from analyses a
        join correlations mine on mine.analysis_id = a.id and mine.kind = 'LOG'
        join correlations its on its.service_id = mine.service_id and its.kind = 'LOG' and its.name = mine.name
        join analyses b on b.id = its.analysis_id and b.is_shown and b.incident_id = past.id
        where a.incident_id = {incident} and a.is_shown) as shared_patterns
  ) found
  where past.status = 'RESOLVED' and past.id <> {incident} and past.id in (
    select near.incident_id from incidents_services near where near.service_id in (
      select service_id from incidents_services where incident_id = {incident}
    )
  )
  order by score desc, past.started_at desc, past.id limit 5
)"""
"""Resolved incidents like the incident with the id `{incident}`: the same services, causes and log patterns."""

COMPARED_ANALYSES_SQL: Final = """(
  select a.id, a.id as a_id, b.id as b_id, a.incident_id = b.incident_id as has_same_incident,
    a.engine_version is distinct from b.engine_version as has_other_engine,
    first_a.evidence_digest is not distinct from first_b.evidence_digest as has_same_evidence,
    first_a.answer_digest is not distinct from first_b.answer_digest as has_same_answer
  from analyses a cross join analyses b
  left join analysis_records first_a on first_a.analysis_id = a.id
  left join analysis_records first_b on first_b.analysis_id = b.id
)"""
"""Every pair of analyses. Narrowed to one by `a_id` and `b_id`."""

COMPARED_CAUSES_SQL: Final = """(
  select coalesce(mine.service_id, its.service_id) as service_id, coalesce(mine.kind, its.kind) as kind,
    mine.rank as rank_a, its.rank as rank_b, mine.score as score_a, its.score as score_b,
    mine.confidence as confidence_a, its.confidence as confidence_b
  from (select * from root_causes where analysis_id = {a}) mine
  full join (select * from root_causes where analysis_id = {b}) its
    on its.service_id = mine.service_id and its.kind = mine.kind
)"""
"""The causes that either of two analyses found, side by side."""

JUDGED_ANALYSES_SQL: Final = """(
  select incident.id, incident.id as incident_id, incident.started_at, shown.id as analysis_id, shown.confidence,
    (select min(placed.place) from (
      select cause.service_id, row_number() over (order by min(cause.rank)) as place
      from root_causes cause where cause.analysis_id = shown.id group by cause.service_id
    ) placed where placed.service_id in (
      select service_id from investigation_hypotheses
      where incident_id = incident.id and status = 'CONFIRMED' and service_id is not null
    )) as place
  from incidents incident
  -- "offset 0" has each looked up by its index: a report is about some incidents of very many.
  cross join lateral (select * from analyses where incident_id = incident.id and is_shown offset 0) shown
  where shown.status in ('COMPLETE', 'PARTIAL') and (
    exists (
      select from investigation_hypotheses where incident_id = incident.id and status = 'CONFIRMED'
      and service_id is not null
    )
    or (exists (select from root_causes where analysis_id = shown.id) and not exists (
      select from root_causes cause where cause.analysis_id = shown.id and cause.rank <= 3 and not exists (
        select from investigation_hypotheses where incident_id = incident.id and status = 'REJECTED'
        and service_id = cause.service_id
      )
    ))
  )
)"""
"""Incidents whose cause people have told: its place among the services that the shown analysis ranks, null where it is
none of them. Those whose first three causes were all rejected count as well.
"""

ENOUGH_JUDGED: Final = 10
"""With fewer incidents, a share of them says nothing."""

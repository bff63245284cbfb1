"""Types that refer to each other across files, named before they exist."""

from typing import TYPE_CHECKING, Annotated

import strawberry

if TYPE_CHECKING:
    from schema.alerts import Alert
    from schema.correlation import Correlation
    from schema.incidents import Incident, ServiceImpact
    from schema.investigation import InvestigationStep
    from schema.people import Team
    from schema.services import Service
    from schema.slos import SLO

AlertRef = Annotated["Alert", strawberry.lazy("schema.alerts")]
CorrelationRef = Annotated["Correlation", strawberry.lazy("schema.correlation")]
IncidentRef = Annotated["Incident", strawberry.lazy("schema.incidents")]
InvestigationStepRef = Annotated["InvestigationStep", strawberry.lazy("schema.investigation")]
ServiceImpactRef = Annotated["ServiceImpact", strawberry.lazy("schema.incidents")]
ServiceRef = Annotated["Service", strawberry.lazy("schema.services")]
SLORef = Annotated["SLO", strawberry.lazy("schema.slos")]
TeamRef = Annotated["Team", strawberry.lazy("schema.people")]

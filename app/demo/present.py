"""The incident that is open right now, played through the actions that people use, at the times they would have."""

from datetime import timedelta
from uuid import UUID

from sqlalchemy import insert

from actions import deployments, hypotheses, impacts, incidents, steps, tasks, timeline
from actions.hypotheses import HypothesisChanges, NewHypothesis
from actions.incidents import AffectedService, IncidentChanges, NewIncident
from actions.recording import record, scope_of
from actions.steps import NewStep, StepChanges
from actions.tasks import NewTask, TaskChanges
from app.demo.identity import fingerprint, stable_id
from app.demo.shop import Person, Shop
from db.alerts import alert_occurrences, alerts
from db.database import Transaction
from domain.access import Actor, Role
from domain.alerts import AlertStatus
from domain.feed import EventType
from domain.incidents import ImpactLevel, IncidentSource, Severity
from domain.investigation import HypothesisStatus, StepStatus, TaskStatus
from domain.timeline import Entry, TimelineEventType

STARTED_BEFORE = timedelta(minutes=25)

_ALERTMANAGER = Actor(id=None, name="Alertmanager", role=Role.RESPONDER)
_PIPELINE = Actor(id=None, name="deploy", role=Role.RESPONDER)


async def play(tx: Transaction, shop: Shop, *, version: str, previous: str) -> UUID:
    """Open the incident and work on it for 25 minutes. `version` of payments is the one just deployed."""
    scene = _Scene(tx, shop, version, previous)
    await scene.breaks()
    await scene.is_noticed()
    await scene.provider_is_suspected()
    await scene.deployment_is_suspected()
    await scene.is_contained()
    return scene.incident_id


class _Scene:
    def __init__(self, tx: Transaction, shop: Shop, version: str, previous: str) -> None:
        self._tx = tx
        self._shop = shop
        self._version = version
        self._previous = previous
        self._started_at = tx.now - STARTED_BEFORE
        self._priya, self._jonas, self._amara = (
            shop.people[name] for name in ("Priya Raman", "Jonas Lindqvist", "Amara Okafor")
        )
        self.incident_id = UUID(int=0)

    async def breaks(self) -> None:
        """A deployment, and six minutes later an alert that opens the incident."""
        new = deployments.NewDeployment(
            service="payments",
            version=self._version,
            commit="5be1c9f0d27a4e63b1c08f4a9d3e7762c0a1b8ef",
            description="Keep one provider session a connection",
            url=f"https://ci.larkspur.example/payments/{self._version}",
            started_at=self._started_at - timedelta(minutes=6),
        )
        await deployments.record(self._at(-4), new, actor=_PIPELINE)
        self.incident_id = await incidents.create(
            self._at(2),
            NewIncident(
                title="Card payments fail for one in six customers",
                description="POST /authorise of payments answers 503 after 10 s for about 17 % of the card payments. "
                "Wallets work. Customers see 'Your payment could not be processed'.",
                severity=Severity.HIGH,
                services=[AffectedService(service="payments"), AffectedService(service="checkout")],
                source=IncidentSource.ALERT,
                started_at=self._started_at,
                labels={"region": "eu-west-1"},
            ),
            actor=_ALERTMANAGER,
        )
        await self._fires(2, "PaymentsErrorRatioHigh", "payments", Severity.HIGH, "17 % of the authorisations fail")

    async def is_noticed(self) -> None:
        """Somebody takes it, and it turns out to be worse than thought."""
        await self._fires(3, "CheckoutLatencyHigh", "checkout", Severity.MEDIUM, "p95 of checkout is 11 s")
        await incidents.acknowledge(self._at(4), self.incident_id, actor=self._priya.actor)
        lead = IncidentChanges(commander_id=self._priya.id)
        await incidents.update(self._at(4.5), self.incident_id, lead, actor=self._priya.actor)
        await self._note(6, "Only cards fail, in eu-west-1 and eu-central-1 alike. Wallets and invoices go through.")
        worse = IncidentChanges(severity=Severity.CRITICAL)
        await incidents.update(self._at(7), self.incident_id, worse, actor=self._priya.actor)

    async def provider_is_suspected(self) -> None:
        """The first idea, and how it was ruled out."""
        jonas = self._jonas.actor
        suspicion = NewHypothesis(
            incident_id=self.incident_id,
            title="The card provider has an outage",
            description="They had one in spring with the same symptoms.",
            status=HypothesisStatus.INVESTIGATING,
            confidence=0.5,
        )
        hypothesis_id = await hypotheses.create(self._at(8), suspicion, actor=jonas)
        step_id = await self._step(
            8.5,
            hypothesis_id,
            self._jonas,
            "Ask the provider for their error ratio",
            "Call the provider's hotline, contract 4471.",
        )
        finding = {"summary": "They see 0.3 % declines and fewer requests from us than usual: ours do not reach them."}
        done = StepChanges(status=StepStatus.COMPLETED, findings=finding)
        await steps.update(self._at(12), step_id, done, actor=jonas)
        rejected = HypothesisChanges(status=HypothesisStatus.REJECTED, confidence=0.05)
        await hypotheses.update(self._at(12.5), hypothesis_id, rejected, actor=jonas)

    async def deployment_is_suspected(self) -> None:
        """The second idea, which looks better and better."""
        amara = self._amara.actor
        await self._note(13, f"Connections to the provider climb since {self._version} went out, and never come down.")
        suspicion = NewHypothesis(
            incident_id=self.incident_id,
            title=f"payments {self._version} does not give connections to the provider back",
            description="Authorisations that time out keep their connection, until none is left for the others.",
            status=HypothesisStatus.INVESTIGATING,
            confidence=0.75,
            service_id=self._shop.services["payments"],
        )
        hypothesis_id = await hypotheses.create(self._at(14), suspicion, actor=amara)
        first = await self._step(
            14.5,
            hypothesis_id,
            self._amara,
            "Count open provider connections by version",
            "sum by (version) (provider_connections_open)",
        )
        finding = {"summary": f"{self._version}: 200 of 200 on every pod. {self._previous}, on the last canary: 14."}
        await steps.update(self._at(17), first, StepChanges(status=StepStatus.COMPLETED, findings=finding), actor=amara)
        second = await self._step(
            18,
            hypothesis_id,
            self._amara,
            "Follow one failed authorisation through its trace",
            "Traces of payments with errors, 15 min.",
        )
        await steps.update(self._at(19), second, StepChanges(status=StepStatus.IN_PROGRESS), actor=amara)
        await self._step(20, hypothesis_id, self._amara, f"Send one pod back to {self._previous} and compare")

    async def is_contained(self) -> None:
        """What is being done while you look."""
        storefront = self._shop.services["storefront"]
        await impacts.set_service_impact(
            self._at(15), self.incident_id, storefront, ImpactLevel.SUSPECTED, actor=self._priya.actor
        )
        told = await self._task(16, "Tell support what to answer customers", "Grace Mbeki", due=5)
        await tasks.update(self._at(20), told, TaskChanges(status=TaskStatus.DONE), actor=self._priya.actor)
        rollback = await self._task(21, f"Prepare the rollback to {self._previous}", "Amara Okafor", due=10)
        await tasks.update(self._at(22), rollback, TaskChanges(status=TaskStatus.IN_PROGRESS), actor=self._amara.actor)
        await self._task(21.5, "Offer wallets first on the payment page", "Jonas Lindqvist", due=20)
        await self._note(23, "Restarted half of the pods by hand: failures went from 17 % to 9 %, and climb again.")

    def _at(self, minutes: float) -> Transaction:
        """The same transaction, so many minutes into the incident."""
        return Transaction(self._tx.connection, self._started_at + timedelta(minutes=minutes))

    async def _note(self, minutes: float, text: str) -> None:
        await timeline.add_note(self._at(minutes), self.incident_id, text, actor=self._priya.actor)

    async def _step(self, minutes: float, hypothesis_id: UUID, by: Person, title: str, action: str = "") -> UUID:
        new = NewStep(
            incident_id=self.incident_id,
            hypothesis_id=hypothesis_id,
            title=title,
            action=action,
            assignee_id=by.id,
        )
        return await steps.create(self._at(minutes), new, actor=by.actor)

    async def _task(self, minutes: float, title: str, assignee: str, *, due: float) -> UUID:
        tx = self._at(minutes)
        new = NewTask(
            incident_id=self.incident_id,
            title=title,
            assignee_id=self._shop.people[assignee].id,
            due_at=tx.now + timedelta(minutes=due),
        )
        return await tasks.create(tx, new, actor=self._priya.actor)

    async def _fires(self, minutes: float, name: str, service: str, severity: Severity, summary: str) -> None:
        """An alert of Alertmanager's that belongs to the incident and has not ended."""
        tx = self._at(minutes)
        id = stable_id("alert", "present", name)
        alert = {
            "id": id,
            "name": name,
            "fingerprint": fingerprint(name, service, "eu-west-1"),
            "status": AlertStatus.FIRING,
            "severity": severity,
            "labels": {"alertname": name, "service": service, "region": "eu-west-1"},
            "annotations": {
                "summary": summary,
                "runbook_url": f"https://wiki.larkspur.example/runbooks/{service}",
            },
            "starts_at": tx.now,
            "source": "alertmanager",
            "service_id": self._shop.services[service],
            "incident_id": self.incident_id,
        }
        await tx.insert(alerts, **alert)
        occurrence = {"id": stable_id("occurrence", "present", name), "alert_id": id, "starts_at": tx.now}
        occurrence["incident_id"] = self.incident_id
        await tx.execute(insert(alert_occurrences).values(occurrence))
        title = f"{name} fires for {service}: {summary}"
        await record(
            tx,
            actor=_ALERTMANAGER,
            action="alert.fire",
            subject_id=id,
            created=alert,
            scope=await scope_of(tx, self.incident_id),
            event=EventType.ALERT_FIRED,
            entries=[Entry(type=TimelineEventType.ALERT, title=title, severity=severity)],
        )

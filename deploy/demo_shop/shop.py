"""The shop: its services on their ports, a customer, and the switches that break it."""

import asyncio
import random
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final

import httpx

from deploy.demo_shop.batches import Batches
from deploy.demo_shop.faults import LESSONS, Fault, Faults
from deploy.demo_shop.listening import Listener
from deploy.demo_shop.logs import Journal, as_loki_push
from deploy.demo_shop.service import RunningService
from deploy.demo_shop.services import BAD_VERSION, FIRST_VERSION, SERVICES
from deploy.demo_shop.studio import Studio, StudioError
from deploy.demo_shop.traces import Span, as_otlp

_CALL_SECONDS: Final = 3.0
_TELEMETRY_SECONDS: Final = 5.0
_MOST_CUSTOMERS: Final = 200
_WATCH_SECONDS: Final = 0.2
_ORDERS: Final = 0.4


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How the shop is run. Where a URL is None, nothing is sent there."""

    host: str = "127.0.0.1"
    port: int = 8100
    """The control's; the services have the next ones. 0 takes free ones."""
    studio_url: str | None = None
    studio_token: str | None = field(default=None, repr=False)
    loki_url: str | None = None
    traces_url: str | None = None
    requests_per_second: float = 8
    is_quiet: bool = False
    seed: int | None = None


class Shop:
    """Everything that runs. Made by `running_shop`."""

    def __init__(self, options: Options, http: httpx.AsyncClient, outside: httpx.AsyncClient) -> None:
        clock = asyncio.get_running_loop().time
        self.faults = Faults(clock)
        self.listeners: dict[str, Listener] = {}
        self._options = options
        self._http = http
        self._chance = random.Random(options.seed)  # noqa: S311  # a customer's moods, no secret
        self._addresses: dict[str, str] = {}
        self._batches: list[Batches] = []
        push = self._sending(outside, options.loki_url, "/loki/api/v1/push", as_loki_push)
        self._spans = self._sending(outside, options.traces_url, "", as_otlp)
        self.journal = Journal(push.add if push else None, is_quiet=options.is_quiet)
        self.studio = (
            Studio(outside, options.studio_url, self.journal, token=options.studio_token)
            if options.studio_url
            else None
        )
        self._deployment_id: str | None = None
        self._switching = asyncio.Lock()
        self.services = {
            service.name: RunningService(
                service,
                self.faults,
                self._addresses,
                http=http,
                journal=self.journal,
                record=self._record,
                chance=self._chance,
            )
            for service in SERVICES
        }

    @property
    def addresses(self) -> Mapping[str, str]:
        """The URLs of the services."""
        return self._addresses

    async def start(self) -> None:
        """Let every service listen. Raises OSError where a port is taken."""
        for number, (name, service) in enumerate(self.services.items(), start=1):
            port = self._options.port and self._options.port + number
            listener = self.listeners[name] = Listener(service.application(), self._options.host, port)
            await listener.start()
            self._addresses[name] = f"http://127.0.0.1:{listener.port}"

    async def stop(self) -> None:
        """Let none listen any more."""
        await asyncio.gather(*(listener.stop() for listener in self.listeners.values()))

    async def run(self) -> None:
        """Everything that goes on beside the requests, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for batches in self._batches:
                tasks.create_task(batches.run())
            if self.studio is not None:
                tasks.create_task(self.studio.keep_registering())
            tasks.create_task(self._heal_in_time())
            if self._options.requests_per_second > 0:
                tasks.create_task(self._shop())

    async def break_it(self, fault: Fault, seconds: float | None) -> None:
        """Switch a fault on, for a time or until healed."""
        async with self._switching:
            was_on = self.faults.is_known(fault)
            self.faults.switch_on(fault, seconds)
            if was_on:
                return
            if fault is Fault.DEAD_DEPENDENCY:
                await asyncio.gather(*(self.listeners[name].stop() for name in LESSONS[fault].services))
            elif fault is Fault.BAD_DEPLOY:
                await self._deploy()

    async def heal(self, fault: Fault) -> None:
        """Switch a fault off; a dead service lives again, a bad deployment is rolled back."""
        async with self._switching:
            if not self.faults.is_known(fault):
                return
            self.faults.switch_off(fault)
            if fault is Fault.DEAD_DEPENDENCY:
                await asyncio.gather(*(self.listeners[name].start() for name in LESSONS[fault].services))
            elif fault is Fault.BAD_DEPLOY:
                await self._roll_back()

    def status(self) -> dict[str, Any]:
        """What runs where, and what is broken."""
        return {
            "services": {
                name: {"url": self._addresses[name], "version": service.version}
                for name, service in self.services.items()
            },
            "faults": {fault.value: self.faults.is_on(fault) for fault in Fault},
            "telemetry_dropped": sum(batches.dropped for batches in self._batches),
        }

    async def _deploy(self) -> None:
        for name in LESSONS[Fault.BAD_DEPLOY].services:
            self.services[name].deploy(BAD_VERSION)
            if self.studio is not None:
                try:
                    description = "Discounts for regular customers"
                    self._deployment_id = await self.studio.record_deployment(name, BAD_VERSION, description)
                except StudioError as error:
                    self.journal.write("demo-shop", "warning", f"the deployment is not recorded: {error}")

    async def _roll_back(self) -> None:
        for name in LESSONS[Fault.BAD_DEPLOY].services:
            self.services[name].deploy(FIRST_VERSION)
        if self.studio is not None and self._deployment_id is not None:
            try:
                await self.studio.roll_back(self._deployment_id)
            except StudioError as error:
                self.journal.write("demo-shop", "warning", f"the rollback is not recorded: {error}")
            self._deployment_id = None

    async def _heal_in_time(self) -> None:
        while True:
            await asyncio.sleep(_WATCH_SECONDS)
            for fault in Fault:
                if self.faults.is_known(fault) and not self.faults.is_on(fault):
                    await self.heal(fault)

    async def _shop(self) -> None:
        """Customers, who come at random times and look around or buy."""
        customers: set[asyncio.Task[None]] = set()
        try:
            while True:
                await asyncio.sleep(self._chance.expovariate(self._options.requests_per_second))
                if len(customers) < _MOST_CUSTOMERS:
                    customer = asyncio.create_task(self._visit())
                    customers.add(customer)
                    customer.add_done_callback(customers.discard)
        finally:
            for customer in customers:
                customer.cancel()

    async def _visit(self) -> None:
        buys = self._chance.random() < _ORDERS
        method, path = ("POST", "/orders") if buys else ("GET", "/")
        with suppress(httpx.HTTPError):  # The services tell of what fails; customers go elsewhere.
            await self._http.request(method, self._addresses["storefront"] + path)

    def _record(self, span: Span) -> None:
        if self._spans is not None:
            self._spans.add(span)

    def _sending(self, http: httpx.AsyncClient, url: str | None, path: str, encode: Any) -> Batches | None:
        if url is None:
            return None
        batches = Batches(http, url.rstrip("/") + path, encode)
        self._batches.append(batches)
        return batches


@asynccontextmanager
async def running_shop(options: Options) -> AsyncGenerator[Shop]:
    """A shop that is open while the block runs. Raises OSError where a port is taken."""
    limits = httpx.Limits(max_connections=None)
    async with (
        httpx.AsyncClient(timeout=_CALL_SECONDS, limits=limits, trust_env=False) as http,
        httpx.AsyncClient(timeout=_TELEMETRY_SECONDS) as outside,
    ):
        shop = Shop(options, http, outside)
        try:
            await shop.start()
            running = asyncio.create_task(shop.run())
            try:
                yield shop
            finally:
                running.cancel()
                with suppress(asyncio.CancelledError):
                    await running
        finally:
            await shop.stop()

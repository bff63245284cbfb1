"""How much may be asked for, and by whom."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator
from pydantic_settings import BaseSettings

from app.setting import lower, setting
from domain.access import Permission, Role
from resolvers.limits.trusted import TrustedDocumentsMode


class Audience(StrEnum):
    """Who may do something: whoever has this role, or one that includes it."""

    ANYONE = "anyone"
    VIEWER = "viewer"
    RESPONDER = "responder"
    ADMIN = "admin"
    NOBODY = "nobody"

    @property
    def permission(self) -> Permission | None:
        """What it takes; None where nobody may. Whoever is let in at all is a viewer."""
        if self is Audience.NOBODY:
            return None
        return Permission(Role.VIEWER if self is Audience.ANYONE else Role(self.value.upper()), None)


class CostTold(StrEnum):
    """When answers tell what they cost."""

    ASKED = "asked"
    ALWAYS = "always"


_AUDIENCES = ", ".join(Audience)


class LimitVariables(BaseSettings):
    """The settings of limits. Costs are in cost units: reading one object of Postgres is 1."""

    max_document_tokens: int = setting(
        5_000, "Longest GraphQL document, in tokens.", "100 to 100000", ge=100, le=100_000
    )
    max_depth: int = setting(
        15, "Most levels of fields in a document; introspection has its own bound.", "1 to 100", ge=1, le=100
    )
    max_aliases: int = setting(100, "Most aliases, fragments written out.", "0 to 10000", ge=0, le=10_000)
    max_directives: int = setting(50, "Most directives, fragments written out.", "0 to 10000", ge=0, le=10_000)
    max_root_fields: int = setting(25, "Most fields of one query or mutation itself.", "1 to 1000", ge=1, le=1_000)
    max_fields: int = setting(2_000, "Most fields, fragments written out.", "10 to 20000", ge=10, le=20_000)
    max_list_items: int = setting(
        1_000, "Most items of one list in a document or its variables.", "1 to 100000", ge=1, le=100_000
    )
    max_cost: int = setting(
        20_000, "Most that one operation may cost: about the number of objects that it may read.",
        "100 to 10000000", ge=100, le=10_000_000,
    )  # fmt: skip
    max_concurrent_operations: int = setting(
        200, "Most operations that run at the same time for one viewer, or one address of those who have not signed "
        "in, in each process; 0 for any number.", "0 to 100000", ge=0, le=100_000,
    )  # fmt: skip
    rate_limit_viewer: float = setting(
        2_000, "What each viewer may ask for per second, over time, in cost units; 0 for any amount.",
        "0 to 1000000000", ge=0, le=1_000_000_000,
    )  # fmt: skip
    rate_limit_address: float = setting(
        10_000, "What each address (IPv6: each /64) may ask for likewise.", "0 to 1000000000", ge=0, le=1_000_000_000
    )
    rate_limit_refused: float = setting(
        10, "How many requests of each address may have no proof of who asks, or a wrong one, per second, over time; 0 "
        "for any number. Further ones are answered 429; who has a right proof is not kept waiting.",
        "0 to 1000000", ge=0, le=1_000_000,
    )  # fmt: skip
    rate_limit_burst_seconds: float = setting(
        60, "How much of that at once: what comes together in so many seconds.", "1 to 3600", ge=1, le=3600
    )
    show_cost: Annotated[CostTold, BeforeValidator(lower)] = setting(
        CostTold.ASKED, "When answers have `extensions.cost`: if the request has `extensions: {cost: true}`, or always "
        "(`actual` only if asked).", ", ".join(CostTold),
    )  # fmt: skip
    trusted_documents: Annotated[TrustedDocumentsMode, BeforeValidator(lower)] = setting(
        TrustedDocumentsMode.OFF, "Whether documents of the manifest can be asked for by `documentId`, and whether "
        "nothing else can be.", ", ".join(TrustedDocumentsMode),
    )  # fmt: skip
    trusted_documents_file: Path | None = setting(
        None, "The manifest, as `reliability-studio trusted-documents` writes it. Read at the start.",
        "a path to a JSON file",
    )  # fmt: skip
    trusted_documents_except_admins: bool = setting(
        False, "Whether admins may send other documents where trusted ones are required.", "true, false"
    )
    introspection_role: Annotated[Audience, BeforeValidator(lower)] = setting(
        Audience.ANYONE, "Who may ask about the schema. Errors suggest no names of it to others.", _AUDIENCES
    )
    explorer_role: Annotated[Audience, BeforeValidator(lower)] = setting(
        Audience.ANYONE, "Who gets the explorer (GraphiQL). A browser has to send who it is with the request for the "
        "page, as behind a proxy that does so.", _AUDIENCES,
    )  # fmt: skip

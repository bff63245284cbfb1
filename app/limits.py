"""The limits of a server, as its settings say."""

from pathlib import Path

from app.clock import now
from app.limit_settings import CostTold
from app.setting import SettingsError
from app.settings import Settings
from db.database import Database
from engines.token_bucket import Rate
from resolvers.limits.guard import Guard
from resolvers.limits.rates import Limits, RateLimiter
from resolvers.limits.structure import DocumentLimits
from resolvers.limits.trusted import ManifestError, TrustedDocuments, TrustedDocumentsMode, parse_manifest


def document_limits(settings: Settings) -> DocumentLimits:
    """What a document may look like."""
    return DocumentLimits(
        tokens=settings.max_document_tokens,
        depth=settings.max_depth,
        aliases=settings.max_aliases,
        directives=settings.max_directives,
        root_fields=settings.max_root_fields,
        fields=settings.max_fields,
        list_items=settings.max_list_items,
    )


def guard(settings: Settings, database: Database) -> Guard:
    """What operations have to pass. Its limiter wants to be run. Raises SettingsError."""
    return Guard(
        documents=document_limits(settings),
        most_cost=settings.max_cost,
        introspection=settings.introspection_role.permission,
        trusted=_trusted_documents(settings),
        limiter=RateLimiter(database, _limits(settings), now=now),
        always_tells_cost=settings.show_cost is CostTold.ALWAYS,
    )


def _limits(settings: Settings) -> Limits:
    def rate(units_per_second: float) -> Rate | None:
        return Rate(units_per_second, settings.rate_limit_burst_seconds) if units_per_second else None

    return Limits(
        viewer=rate(settings.rate_limit_viewer),
        address=rate(settings.rate_limit_address),
        refusals=rate(settings.rate_limit_refused),
        operations=settings.max_concurrent_operations or None,
    )


def _trusted_documents(settings: Settings) -> TrustedDocuments:
    mode, path = settings.trusted_documents, settings.trusted_documents_file
    if mode is TrustedDocumentsMode.OFF:
        return TrustedDocuments()
    if path is None:
        raise SettingsError([f"TRUSTED_DOCUMENTS={mode} wants a TRUSTED_DOCUMENTS_FILE."])
    return TrustedDocuments(mode, _manifest(path), settings.trusted_documents_except_admins)


def _manifest(path: Path) -> dict[str, str]:
    try:
        return parse_manifest(path.read_bytes())
    except OSError as error:
        raise SettingsError([f"TRUSTED_DOCUMENTS_FILE={path} cannot be read: {error.strerror}."]) from error
    except ManifestError as error:
        raise SettingsError([f"TRUSTED_DOCUMENTS_FILE={path} is not a manifest: {error}."]) from error

"""Documents that the operator trusts, asked for by their ids (GraphQL over HTTP, appendix A: persisted documents)."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256
from typing import Any, Final

import orjson
from graphql import GraphQLSyntaxError, OperationDefinitionNode, parse

from domain.access import Role
from domain.errors import DocumentNotTrusted, ValidationFailed

SHA256: Final = "sha256:"
_MOST_ID_CHARACTERS: Final = 200


class TrustedDocumentsMode(StrEnum):
    """What becomes of documents that are trusted, and of those that are not."""

    OFF = "off"
    PREFER = "prefer"
    REQUIRED = "required"


class ManifestError(Exception):
    """A manifest cannot be used. The message is for the operator."""


@dataclass(frozen=True, slots=True)
class TrustedDocuments:
    """The documents of a manifest, by id."""

    mode: TrustedDocumentsMode = TrustedDocumentsMode.OFF
    documents: Mapping[str, str] = field(default_factory=dict)
    except_admins: bool = False
    """Whether admins may send other documents even where trusted ones are required."""

    def text_of(self, query: str | None, document_id: str | None, role: Role) -> str:
        """The document that a request asks for. Raises DocumentNotTrusted and ValidationFailed."""
        if document_id is None:
            if self.mode is TrustedDocumentsMode.REQUIRED and not (self.except_admins and role is Role.ADMIN):
                raise DocumentNotTrusted(
                    "Only documents that the operator trusts are executed here (TRUSTED_DOCUMENTS): send the "
                    "`documentId` of one instead of a `query`"
                )
            return query or ""
        if query:
            raise ValidationFailed("Send a `query` or a `documentId`, not both")
        if self.mode is TrustedDocumentsMode.OFF:
            raise DocumentNotTrusted("No documents are known by their ids here (TRUSTED_DOCUMENTS): send the `query`")
        text = self.documents.get(document_id)
        if text is None:
            raise DocumentNotTrusted(
                f"No trusted document has the id {document_id[:_MOST_ID_CHARACTERS]!r}: add it to the manifest "
                "(TRUSTED_DOCUMENTS_FILE), and start the server anew"
            )
        return text

    def operation_names(self) -> frozenset[str]:
        """What the operations of these documents are called. One that is no GraphQL has none."""
        found: set[str] = set()
        for text in set(self.documents.values()):
            with suppress(GraphQLSyntaxError):
                for node in parse(text, no_location=True).definitions:
                    if isinstance(node, OperationDefinitionNode) and node.name is not None:
                        found.add(node.name.value)
        return frozenset(found)


def document_id(text: str) -> str:
    """The id of a document that says what it is: its SHA-256."""
    return SHA256 + sha256(text.encode()).hexdigest()


def parse_manifest(content: bytes) -> dict[str, str]:
    """The documents of a manifest, a JSON object of ids and documents. Raises ManifestError.

    Ids that begin with `sha256:` have to be right. Those that are the bare hash, as GraphQL Code Generator writes them,
    are known with that prefix as well.
    """
    try:
        manifest: Any = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise ManifestError(f"it is not JSON: {error.msg} (line {error.lineno})") from error
    if not isinstance(manifest, dict):
        raise ManifestError("it is not a JSON object of ids and documents")
    documents: dict[str, str] = {}
    for id, text in manifest.items():
        if not isinstance(text, str) or not text.strip():
            raise ManifestError(f"the document with the id {id!r} is not text")
        own = document_id(text)
        if id.startswith(SHA256) and id != own:
            raise ManifestError(f"the document with the id {id!r} has another hash: {own}")
        documents[id] = text
        if SHA256 + id == own:
            documents[own] = text
    return documents

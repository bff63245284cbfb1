"""A health check for images without curl and wget: exits with 0 when the server answers 2xx within two seconds.

Without a URL it asks Reliability Studio in its own container, where its settings say that it listens. With the standard
library alone it takes a twentieth of the time of the command line, every few seconds.
"""

import os
import ssl
import sys
from collections.abc import Iterator, Mapping
from http.client import BadStatusLine
from urllib.error import HTTPError
from urllib.request import urlopen

TIMEOUT_SECONDS = 2
_EVERY_ADDRESS = {"", "0.0.0.0", "::"}  # compared


def own_urls(environment: Mapping[str, str]) -> Iterator[str]:
    """Where the server's health may be, the likeliest first: HTTPS can also be an option of the command line's."""
    host = environment.get("HOST", "")
    shown = "127.0.0.1" if host in _EVERY_ADDRESS else f"[{host}]" if ":" in host else host
    schemes = ("https",) if environment.get("TLS_CERT_FILE") else ("http", "https")
    for scheme in schemes:
        yield f"{scheme}://{shown}:{environment.get('PORT') or 9000}/api/health"


def trusting_anyone() -> ssl.SSLContext:
    """It asks this machine, and the certificate is for the name by which others know it."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def main() -> int:
    """Ask, and say why it failed: `docker inspect` shows it."""
    for url in sys.argv[1:] or own_urls(os.environ):
        try:
            with urlopen(url, timeout=TIMEOUT_SECONDS, context=trusting_anyone()):  # noqa: S310  # not from outside
                return 0
        except HTTPError as error:  # It answers, so there is no need to ask in another way.
            sys.stderr.write(f"{url}: {error}\n")
            return 1
        except (BadStatusLine, OSError) as error:  # URLError is an OSError
            sys.stderr.write(f"{url}: {error}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())

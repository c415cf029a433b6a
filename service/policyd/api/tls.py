"""The certificate of the lookup listener, which may be replaced under a running service."""

import asyncio
import signal
import ssl
import threading
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

from policyd.config import LookupConfig
from policyd.errors import ConfigError
from policyd.observe.events import CertificateRead, CertificateRefused, Observer, ReloadAsked


def tls_of(stack: AsyncExitStack, config: LookupConfig, observe: Observer) -> ssl.SSLContext | None:
    """The context of the configured certificate, which SIGHUP reads again."""
    if config.tls_cert is None or config.tls_key is None:
        _hear_hangups(stack, lambda: observe(ReloadAsked(certificate=None)))
        return None
    context = server_context(config.tls_cert, config.tls_key)
    reread = rereading(context, config.tls_cert, config.tls_key, observe)
    certificate = str(config.tls_cert)

    def reload() -> None:
        observe(ReloadAsked(certificate=certificate))
        reread()

    _hear_hangups(stack, reload)
    return context


def _hear_hangups(stack: AsyncExitStack, reload: Callable[[], None]) -> None:
    """Have SIGHUP mean *reload*, and nothing at all while the service ends: its default would be the end at once."""
    if threading.current_thread() is threading.main_thread():  # signals reach no other
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGHUP, reload)
        stack.callback(loop.add_signal_handler, signal.SIGHUP, lambda: None)


def server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """A context that shows *certificate*; ConfigError when the two files are not a certificate and its key."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    _load(context, certificate, key)
    return context


def rereading(context: ssl.SSLContext, certificate: Path, key: Path, observe: Observer) -> Callable[[], None]:
    """What reads both files again for connections from then on; files that cannot be used change nothing."""

    def reread() -> None:
        try:
            # Tried on a context of its own: a key that does not fit is noticed only after the certificate is in.
            server_context(certificate, key)
            _load(context, certificate, key)
        except ConfigError as error:
            observe(CertificateRefused(reason=str(error)))
        else:
            observe(CertificateRead(certificate=str(certificate)))

    return reread


def _load(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    try:
        # With an empty password OpenSSL fails for an encrypted key, instead of asking at the terminal.
        context.load_cert_chain(certificate, key, password="")
    except OSError as error:
        raise ConfigError(
            f"lookup.tls_cert {certificate} and lookup.tls_key {key} cannot be used: {error.strerror or error}",
            hint="they are two PEM files: the certificate with its chain, and its key without a passphrase",
        ) from error

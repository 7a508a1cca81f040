"""A login at an SSH server whose host key is known: never added on first sight, never guessed."""

import base64
import io
import re
from pathlib import Path
from typing import TYPE_CHECKING

from letterpress.activation.destinations.connections import Connection
from letterpress.activation.destinations.parts.files.folders import NAME
from letterpress.activation.destinations.spec import DestinationError

if TYPE_CHECKING:
    import paramiko

CONNECT_SECONDS = 15.0
HOST_KEY = re.compile(r"(?:^|\s)((?:ssh|ecdsa|sk)-[\w@.-]+)\s+([A-Za-z0-9+/=]+)")


def connected(connection: Connection, host: str, port: int) -> "paramiko.SSHClient":
    """A client that has logged in. Raises :class:`DestinationError` for a key or a login that is not right.

    Lost and refused connections are paramiko's and the system's own errors: they are worth another attempt.
    """
    import paramiko

    place = f"{NAME}: sftp://{host}:{port}"
    if not connection.login:
        raise DestinationError(f"{place}: expected a login, found none; set the connection's login")
    name = host if port == 22 else f"[{host}]:{port}"
    ssh = paramiko.SSHClient()
    ssh.set_missing_host_key_policy(_refusal(place, host, port))
    if known := connection.extra.get("host_key"):
        key = _host_key(place, known)
        ssh.get_host_keys().add(name, key.get_name(), key)
    else:
        ssh.load_system_host_keys()
    try:
        ssh.connect(
            host,
            port,
            connection.login,
            password=connection.token or None,
            pkey=_private_key(place, connection),
            timeout=CONNECT_SECONDS,
            banner_timeout=CONNECT_SECONDS,
            auth_timeout=CONNECT_SECONDS,
            channel_timeout=CONNECT_SECONDS,
            allow_agent=False,
            look_for_keys=False,
        )
    except paramiko.BadHostKeyException as error:
        ssh.close()
        raise DestinationError(
            f"{place}: expected the host key {error.expected_key.fingerprint}, found {error.key.fingerprint}: the "
            "server was exchanged, or somebody stands in between; ask its owner before you change host_key"
        ) from None
    except paramiko.AuthenticationException:
        ssh.close()
        raise DestinationError(
            f"{place}: the login was refused; check the connection's login and its password, private_key or key_file"
        ) from None
    except BaseException:
        ssh.close()
        raise
    return ssh


def _refusal(place: str, host: str, port: int) -> "paramiko.MissingHostKeyPolicy":
    """What is done about a host whose key nobody has vouched for."""
    import paramiko

    class Refusal(paramiko.MissingHostKeyPolicy):
        def missing_host_key(self, client: "paramiko.SSHClient", hostname: str, key: "paramiko.PKey") -> None:
            raise DestinationError(
                f"{place}: expected a host key that is known, found {key.get_name()} {key.fingerprint}, which nobody "
                f"has vouched for; run ssh-keyscan -p {port} {host}, compare with what the server's owner says, and "
                "put the key into host_key of the connection's extra, or its line into known_hosts"
            )

    return Refusal()


def _host_key(place: str, text: str) -> "paramiko.PKey":
    """A key from ``ssh-ed25519 AAAA…``, or from a line of known_hosts."""
    import paramiko

    try:
        kind, key = HOST_KEY.search(text).groups()
        return paramiko.PKey.from_type_string(kind, base64.b64decode(key))
    except Exception as error:
        raise DestinationError(
            f"{place}: expected host_key like 'ssh-ed25519 AAAA…' in the connection's extra, found what gives "
            f"{error.__class__.__name__}; take the line from ssh-keyscan"
        ) from None


def _private_key(place: str, connection: Connection) -> "paramiko.PKey | None":
    text, file = connection.extra.get("private_key"), connection.extra.get("key_file")
    if not text and not file:
        return None
    passphrase = connection.extra.get("private_key_passphrase")
    try:
        return _key_of(text or Path(file).expanduser().read_text(encoding="utf-8"), passphrase)
    except Exception as error:
        raise DestinationError(
            f"{place}: expected a private key that can be opened in {'private_key' if text else 'key_file'} of the "
            f"connection's extra, found what gives {error.__class__.__name__}; is it a whole OpenSSH or PEM key, with "
            "its private_key_passphrase?"
        ) from None


def _key_of(text: str, passphrase: str | None) -> "paramiko.PKey":
    """A key's text says only in its middle of which kind it is, so each kind is tried."""
    import paramiko

    text = text.replace("\\n", "\n")  # as environment variables hold it
    for kind in (paramiko.Ed25519Key, paramiko.ECDSAKey):
        try:
            return kind.from_private_key(io.StringIO(text), passphrase)
        except paramiko.PasswordRequiredException:
            raise
        except (paramiko.SSHException, ValueError):
            continue
    return paramiko.RSAKey.from_private_key(io.StringIO(text), passphrase)

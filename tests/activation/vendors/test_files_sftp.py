"""A drop on a real SFTP server: keys and logins, lost connections, full disks."""

import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path

import paramiko
import pytest
from drop_folder import ATTRIBUTES, INBOUND, ROWS, empty, files, list_of, person
from sftp_server import LOGIN, SECRET, SftpServer, running

from letterpress.activation.destinations import Connection
from letterpress.activation.destinations.files import Options, open_client
from letterpress.activation.destinations.parts.files.sftp import ATTEMPTS
from letterpress.activation.destinations.spec import DestinationError, Held, Operation, Results, Row


@pytest.fixture
def server(tmp_path: Path) -> Iterator[SftpServer]:
    with running(tmp_path / "server") as found:
        (found.root / "drop").mkdir()
        yield found


def connection(server: SftpServer, *, token: str = SECRET, folder: str = "/drop", **extra) -> Connection:
    extra = {"host_key": server.host_key_line, **extra}
    return Connection(f"sftp://127.0.0.1:{server.port}{folder}", token, login=LOGIN, extra=extra)


def upsert(where: Connection, *rows: Row, key: str = "key") -> Results:
    with open_client(where, Options()) as client:
        client.prepare(ATTRIBUTES, ())
        return client.send(Operation.UPSERT, rows or [person(1)], key=key, list_id=None)


def everything(base: Path, where: Connection) -> dict[str, bytes]:
    """The folder after one of each operation, each of them twice."""
    with open_client(where, Options()) as client:
        client.prepare(ATTRIBUTES, ())
        for operation in Operation:
            for _ in range(2):
                assert client.send(operation, [ROWS[operation]], key="key", list_id=list_of(operation)) == Results()
    return files(base)


def test_a_server_holds_the_same_files_as_a_folder_here(server, tmp_path):
    (tmp_path / "here").mkdir()
    here = everything(tmp_path / "here", Connection((tmp_path / "here").as_uri(), ""))
    assert everything(server.root / "drop", connection(server)) == here
    assert len(here) == 2 * len(Operation)
    assert server.connections == 1


def test_suppressions_and_what_is_held_come_back_from_a_server(server):
    upsert(connection(server))
    (server.root / "drop" / "customers" / "inbound" / "1.csv").write_text(INBOUND)
    with open_client(connection(server), Options()) as client:
        events, position = client.suppressions(None)
        assert [one.reason for one in events] == ["unsubscribed", "bounced", "complained"]
        assert client.suppressions(position) == ([], position)
        (held,) = client.read([person(1), person(2)], ["tier"])
        assert (held.customer_id, held.email, held.attributes) == ("c1", "person1@example.com", {"tier": "gold"})
        assert client.requests > 10


def test_nothing_is_connected_before_it_is_needed_and_nothing_stays_open(server):
    with open_client(connection(server), Options()) as client:
        assert (server.connections, client.requests) == (0, 0)
        client.prepare({}, ())
        transport = client._folder._ssh.get_transport()
        assert transport.is_active()
    assert not transport.is_active()


def test_the_login_s_own_folder_is_used_where_the_address_names_none(server):
    upsert(connection(server, folder=""))
    assert len(list((server.root / "customers").glob("upsert-*"))) == 1


@pytest.mark.parametrize("folder", ["/nowhere", "/drop/nowhere"])
def test_a_folder_that_is_not_there_is_an_error_that_says_so(server, folder):
    with pytest.raises(DestinationError, match=rf"expected the folder sftp://127.0.0.1:\d+{folder}, found none"):
        upsert(connection(server, folder=folder))
    assert files(server.root) == {}


# Host keys.


def test_a_host_that_nobody_has_vouched_for_is_refused_and_never_added(server, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    where = Connection(f"sftp://127.0.0.1:{server.port}/drop", SECRET, login=LOGIN)
    for _ in range(2):
        with pytest.raises(DestinationError, match="expected a host key that is known, found ecdsa-sha2") as error:
            upsert(where)
        assert server.host_key.fingerprint in str(error.value)
        assert f"ssh-keyscan -p {server.port} 127.0.0.1" in str(error.value)
        assert SECRET not in str(error.value)
    assert not (tmp_path / ".ssh").exists()
    assert files(server.root) == {}


def test_the_machine_s_known_hosts_vouch_for_a_host(server, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh" / "known_hosts").write_text(f"[127.0.0.1]:{server.port} {server.host_key_line}\n")
    upsert(Connection(f"sftp://127.0.0.1:{server.port}/drop", SECRET, login=LOGIN))
    assert len(list((server.root / "drop" / "customers").glob("upsert-*"))) == 1


def test_another_host_key_than_the_known_one_is_refused(server):
    other = paramiko.ECDSAKey.generate()
    with pytest.raises(DestinationError, match="the server was exchanged, or somebody stands in between") as error:
        upsert(connection(server, host_key=f"{other.get_name()} {other.get_base64()}"))
    assert other.fingerprint in str(error.value)
    assert server.host_key.fingerprint in str(error.value)
    assert files(server.root) == {}


def test_a_line_of_known_hosts_is_a_host_key_too(server):
    upsert(connection(server, host_key=f"[127.0.0.1]:{server.port} {server.host_key_line} a comment"))
    assert server.connections == 1


@pytest.mark.parametrize("text", ["SHA256:abcdef", "ssh-ed25519 AAAA", "ssh-ed25519", "nonsense"])
def test_a_host_key_that_is_none_is_refused(server, text):
    with pytest.raises(DestinationError, match="expected host_key like 'ssh-ed25519 AAAA…' in the connection's extra"):
        upsert(connection(server, host_key=text))
    assert server.connections == 0


# Logins.


def test_a_wrong_password_is_an_error_with_the_remedy_and_without_the_password(server, caplog, clock):
    with (
        caplog.at_level(logging.DEBUG),
        pytest.raises(DestinationError, match="the login was refused; check the connection's login and its") as error,
    ):
        upsert(connection(server, token="wrong-and-secret"))
    assert "wrong-and-secret" not in str(error.value) + caplog.text
    assert error.value.__suppress_context__
    assert clock.pauses == []  # it would lock the account
    assert server.connections == 1


def test_a_connection_without_a_login_is_refused(server):
    where = Connection(f"sftp://127.0.0.1:{server.port}/drop", SECRET, extra={"host_key": server.host_key_line})
    with pytest.raises(DestinationError, match="expected a login, found none; set the connection's login"):
        upsert(where)


@pytest.mark.parametrize("passphrase", [None, "pass-and-secret"])
@pytest.mark.parametrize("place", ["private_key", "private_key on one line", "key_file"])
@pytest.mark.parametrize("kind", ["ecdsa", "rsa", "ed25519"])
def test_a_private_key_opens_the_door_without_a_password(server, tmp_path, place, passphrase, kind):
    path = tmp_path / "key"
    text = written_key(kind, passphrase)
    path.write_text(text)
    kinds = {"ecdsa": paramiko.ECDSAKey, "rsa": paramiko.RSAKey, "ed25519": paramiko.Ed25519Key}
    server.keys.append(kinds[kind].from_private_key(io.StringIO(text), passphrase))
    extra = {
        "private_key": {"private_key": text},
        "private_key on one line": {"private_key": text.replace("\n", "\\n")},
        "key_file": {"key_file": str(path)},
    }[place]
    upsert(connection(server, token="", private_key_passphrase=passphrase, **extra))
    assert len(list((server.root / "drop" / "customers").glob("upsert-*"))) == 1


def written_key(kind: str, passphrase: str | None) -> str:
    """A private key as ssh-keygen writes it."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    key = {
        "ecdsa": lambda: ec.generate_private_key(ec.SECP256R1()),
        "rsa": lambda: rsa.generate_private_key(65537, 2048),
        "ed25519": ed25519.Ed25519PrivateKey.generate,
    }[kind]()
    sealed = serialization.BestAvailableEncryption(passphrase.encode()) if passphrase else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, sealed).decode()


def test_a_private_key_that_does_not_open_is_an_error_that_tells_nothing_of_it(server, tmp_path):
    sealed = written_key("ecdsa", "pass-and-secret")
    for extra, place in (
        ({"private_key": sealed}, "private_key"),
        ({"private_key": sealed, "private_key_passphrase": "another-secret"}, "private_key"),
        ({"private_key": "nonsense"}, "private_key"),
        ({"key_file": str(tmp_path / "nowhere")}, "key_file"),
    ):
        with pytest.raises(DestinationError, match=f"expected a private key that can be opened in {place} of") as error:
            upsert(connection(server, token="", **extra))
        assert not any(text in str(error.value) for text in ("another-secret", sealed[40:80], "nonsense"))
    assert server.connections == 0


# What happens to connections and disks.


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["loses", "loses_after"])
def test_a_connection_lost_at_any_call_ends_in_the_same_state(server, clock, fault):
    root = server.root / "drop"

    def run() -> tuple[list[Held], dict[str, bytes]]:
        with open_client(connection(server), Options()) as client:
            client.prepare(ATTRIBUTES, ())
            client.send(Operation.UPSERT, [person(1), person(2)], key="1", list_id=None)
            client.send(Operation.ERASE, [person(1)], key="2", list_id=None)
            return client.read([person(1), person(2)], ["tier"]), files(root)

    expected = run()
    assert [one.customer_id for one in expected[0]] == ["c2"]
    calls = server.calls
    assert calls > 40
    for number in range(1 if fault == "loses" else 2, calls + 1, 2):
        empty(root)
        server.calls = 0
        setattr(server, fault, [number])
        assert run() == expected, number
    assert len(clock.pauses) > calls / 4
    assert max(clock.pauses) <= 8


def test_a_server_that_cannot_be_reached_is_an_error_after_a_few_attempts(server, clock):
    where = Connection("sftp://127.0.0.1:1/drop", SECRET, login=LOGIN, extra={"host_key": server.host_key_line})
    with pytest.raises(DestinationError, match=rf"found NoValidConnectionsError after {ATTEMPTS} attempts") as error:
        upsert(where)
    assert "can the server be reached at this host and port" in str(error.value)
    assert len(clock.pauses) == ATTEMPTS - 1


def test_a_server_without_openssh_s_rename_does_as_well(server):
    server.replaces_by_rename = False
    found = everything(server.root / "drop", connection(server))
    manifests = [json.loads(content) for name, content in found.items() if "/manifests/" in name]
    assert sorted(one["operation"] for one in manifests) == sorted(Operation)
    upsert_ = next(content for name, content in found.items() if name.startswith("customers/upsert"))
    assert b"person1@example.com" in upsert_  # written after the erasure, which replaced a file of suppressions
    assert not any(name.endswith(".part") for name in found)


def test_a_full_disk_there_is_an_error_and_with_room_again_the_file_is_whole(server):
    upsert(connection(server))
    server.is_full = True
    with pytest.raises(DestinationError, match=r"upsert-\w+\.csv: expected to use it, found .*; look at the") as error:
        upsert(connection(server), person(2), key="other")
    assert "person2" not in str(error.value)
    manifests = server.root / "drop" / "customers" / "manifests"
    assert len(list(manifests.iterdir())) == 1
    assert len(list(manifests.parent.glob("*.csv"))) == 1

    server.is_full = False
    upsert(connection(server), person(2), key="other")
    assert len(list(manifests.iterdir())) == 2
    assert not list(server.root.rglob("*.part"))


def test_no_right_to_write_there_is_an_error_that_names_the_remedy(server, monkeypatch):
    import sftp_server

    monkeypatch.setattr(sftp_server._Files, "mkdir", lambda self, path, attr: paramiko.SFTP_PERMISSION_DENIED)
    with pytest.raises(DestinationError, match="found no right to it; give the connection's login the right") as error:
        upsert(connection(server))
    assert SECRET not in str(error.value)


def test_nothing_personal_and_no_secret_is_logged(server, caplog):
    with caplog.at_level(logging.DEBUG):
        everything(server.root / "drop", connection(server))
    assert "paramiko" in {record.name.split(".")[0] for record in caplog.records}
    for text in ("@example.com", "Name 1", SECRET):
        assert text not in caplog.text

"""A drop of files: folders, disks and settings that are not as they should be."""

import errno
import os
import tempfile
from pathlib import Path

import pytest
from drop_folder import connecting, manifests, person, table

from letterpress import storage
from letterpress.activation.configuration import ConfigurationError
from letterpress.activation.destinations import Connection, destination
from letterpress.activation.destinations.files import Options, open_client
from letterpress.activation.destinations.spec import DestinationError, Operation


@pytest.fixture
def base(tmp_path: Path) -> Path:
    (tmp_path / "drop").mkdir()
    return tmp_path / "drop"


@pytest.fixture
def connect(base: Path):
    with connecting(base) as connect:
        yield connect


def test_a_folder_that_is_not_there_is_an_error_in_every_call(tmp_path):
    with open_client(Connection((tmp_path / "typo").as_uri(), ""), Options()) as client:
        for call in (
            lambda: client.prepare({}, ()),
            lambda: client.send(Operation.UPSERT, [person(1)], key="key", list_id=None),
            lambda: client.suppressions(None),
            lambda: client.read([person(1)], []),
        ):
            with pytest.raises(DestinationError, match=r"expected the folder .*typo, found none; make it"):
                call()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("https://example.com/drop", "expected an address like file:///folder, .* found https://"),
        ("nowhere://example/drop", "expected an address whose scheme fsspec knows, found nowhere://"),
        ("sftp://host:port/drop", "with a port that is no number"),
        ("sftp:///drop", "without a host"),
    ],
)
def test_an_address_that_cannot_be_is_refused(address, message):
    with pytest.raises(DestinationError, match=message), open_client(Connection(address, ""), Options()) as client:
        client.prepare({}, ())


@pytest.mark.parametrize("place", ["file", "manifest"])
def test_a_full_disk_is_an_error_that_says_so_and_with_room_again_all_is_written(base, connect, monkeypatch, place):
    client = connect()
    ending = {"file": ".csv", "manifest": ".json"}[place]
    with monkeypatch.context() as patched:
        # The device that is always full stands behind the name that the file is written aside to.
        def opened(path, mode):
            return open("/dev/full" if f"{ending}." in path else path, mode)

        patched.setattr(storage, "open", opened, raising=False)
        for _ in range(2):
            with pytest.raises(DestinationError, match="found no room for it; make room there and run again") as error:
                client.send(Operation.UPSERT, [person(1)], key="key", list_id=None)
            assert "person1@" not in str(error.value)
            assert manifests(base) == []
    client.send(Operation.UPSERT, [person(1)], key="key", list_id=None)
    (manifest,) = manifests(base)
    assert table(base, manifest)[1][0] == "c1"
    assert not list(base.rglob("*.part"))


def test_a_folder_without_the_right_to_write_is_an_error_that_says_so(connect):
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o555)
        is_root = os.geteuid() == 0
        with open_client(Connection(Path(folder).as_uri(), ""), Options()) as client:
            if is_root:
                os.seteuid(65534)  # nobody: root may write everywhere
            try:
                with pytest.raises(DestinationError, match="found no right to it; give the connection's login"):
                    client.prepare({}, ())
            finally:
                if is_root:
                    os.seteuid(0)
        os.chmod(folder, 0o755)


@pytest.mark.parametrize("code", [errno.EIO, errno.ESTALE])
def test_any_other_error_of_the_folder_names_the_file_and_the_next_step(connect, monkeypatch, code):
    client = connect()

    def broken(uri, content):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(storage, "write_bytes", broken)
    with pytest.raises(DestinationError, match=rf"upsert-\w+\.csv: .* found {os.strerror(code)}; .* run again"):
        client.send(Operation.UPSERT, [person(1)], key="key", list_id=None)


def test_a_manifest_that_is_none_is_named(base, connect):
    client = connect()
    client.send(Operation.UPSERT, [person(1)], key="key", list_id=None)
    (path,) = (base / "customers" / "manifests").iterdir()
    path.write_text("{}")
    with pytest.raises(DestinationError, match=r"manifests/0000000001-upsert-\w+\.json: expected a manifest"):
        client.read([person(1)], [])


BLOCK = """\
drop:
  module: files
  connection: drop
  audience: activation.sync_customers
  lists: {loyal: vip}
  subscribes: true
  leavers: delete
  batch: {rows: 50000, bytes: 32000000}
  attributes:
    first_name: {attribute: first_name}
  options: {folder: crm/customers, delimiter: ";", line_ending: crlf}
"""


def test_a_block_of_the_configuration_is_understood(tmp_path):
    path = tmp_path / "destinations.yml"
    path.write_text(BLOCK)
    assert destination("drop", path).checked_options() == Options(
        folder="crm/customers", delimiter=";", line_ending="crlf"
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("crm/customers", "../customers", "folder"),
        ("delimiter", "delimeter", "delimeter"),
        ('";"', '":"', "delimiter"),
        ("crlf", "cr", "line_ending"),
        ("attribute: first_name", "attribute: email", "expected another name, found 'email'"),
        ("attribute: first_name", "attribute: 'first,name'", "expected a name like"),
    ],
)
def test_a_mistake_in_the_configuration_is_refused(tmp_path, old, new, message):
    assert old in BLOCK
    path = tmp_path / "destinations.yml"
    path.write_text(BLOCK.replace(old, new, 1))
    with pytest.raises(ConfigurationError, match=message):
        destination("drop", path)

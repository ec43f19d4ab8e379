"""DICOM TLS: what is asked and what comes is encrypted and verified, and what is wrong is named."""

from __future__ import annotations

import contextlib
import datetime
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from pacs.runs import (
    arguments,
    has_received,
    instance_paths,
    interrupt,
    port_is_free,
    processes,
    run,
    run_arguments,
    until,
    write_query,
)
from pacs.secure import NAME, Office, Paper, site_file, start_secure_orthanc, stunnel
from pacs.servers import LOOPBACK, Hospital, OrthancServer, Server, free_port, make_peers, start_dcmqrscp
from pacs.test_check import check
from pacsifier import api
from pacsifier.config import Tls
from pacsifier.dcmtk.certificates import check_files
from pacsifier.errors import AssociationError, InputError

EVERYONE = [{"PatientID": patient} for patient in ("00123", "123421", "45322", "124588", "SYN 05")]
ONE = [{"PatientID": "45322"}]


@pytest.fixture(scope="module")
def office(tmp_path_factory) -> Office:
    """The authority that the hospital trusts."""
    return Office(tmp_path_factory.mktemp("office"))


@pytest.fixture(scope="module")
def ours(office: Office) -> Paper:
    return office.issue("ours", "research.example.org")


@pytest.fixture(scope="module")
def options(office: Office, ours: Paper) -> list[object]:
    """Those of a run that trusts the authority and shows our certificate."""
    return office.options(ours)


@pytest.fixture(scope="module")
def orthanc_tls(tmp_path_factory, hospital: Hospital, office: Office) -> Iterator[OrthancServer]:
    """Orthanc that takes and sends by TLS only; its certificate is good for its address."""
    paper = office.issue("orthanc", "localhost", LOOPBACK)
    folder = tmp_path_factory.mktemp("orthanc-tls")
    with start_secure_orthanc(folder, hospital.files, make_peers(), office, paper) as server:
        assert isinstance(server, OrthancServer)
        yield server


@pytest.fixture(scope="module")
def behind(dcmqrscp: Server, office: Office, tmp_path_factory) -> Iterator[int]:
    """The port of a stunnel before dcmqrscp; its certificate is of NAME, and it demands none."""
    paper = office.issue("stunnel", NAME)
    with stunnel(tmp_path_factory.mktemp("stunnel"), dcmqrscp.port, paper=paper, trusts=None) as port:
        yield port


def brought(done: object, hospital: Hospital) -> bool:
    return {*done.files} == {record.sop_uid for record in hospital.records}  # type: ignore[attr-defined]


# --- what works --------------------------------------------------------------------------------------------------


def test_a_secure_pacs_is_fetched_from_whole_by_c_move(orthanc_tls, office, ours, hospital, tmp_path):
    done = run(orthanc_tls, tmp_path, EVERYONE, "--save", "--info", *office.options(ours))
    assert done.status == 0, done.stderr
    assert brought(done, hospital)
    for uid, path in done.files.items():
        held = orthanc_tls.file(uid)
        # The same data set, byte for byte: what differs is the header that the sender writes.
        assert path.read_bytes()[-2000:] == held[-2000:]


def test_a_secure_pacs_is_fetched_from_whole_by_c_get(orthanc_tls, office, ours, hospital, tmp_path):
    done = run(orthanc_tls, tmp_path, EVERYONE, "--save", "--retrieve_method", "get", *office.options(ours))
    assert done.status == 0, done.stderr
    assert brought(done, hospital)


def test_no_certificate_of_ours_is_needed_where_the_pacs_demands_none(behind, dcmqrscp, office, tmp_path):
    options = [*office.options(), "--tls_name", NAME]
    done = run(dcmqrscp, tmp_path, EVERYONE, "--info", *options, port=behind)
    assert done.status == 0, done.stderr
    done = run(dcmqrscp, tmp_path, ONE, "--save", "--retrieve_method", "get", *options, port=behind)
    assert done.status == 0, done.stderr


def test_finds_by_tls_with_plain_images_back_are_possible_and_said(
    behind, dcmqrscp, office, hospital, tmp_path
):
    options = [*office.options(), "--tls_name", NAME, "--tls_plain_images"]
    done = run(dcmqrscp, tmp_path, EVERYONE, "--save", *options, port=behind)
    assert done.status == 0, done.stderr
    assert brought(done, hospital)
    assert "the images come unencrypted (--tls_plain_images)" in done.stderr


def test_images_come_by_tls_from_a_pacs_that_has_stunnel_for_it(hospital, office, ours, tmp_path):
    """dcmqrscp behind two tunnels: one for what is asked, one for what it sends."""
    tunnelled = office.issue("tunnelled", NAME)
    port = free_port()
    with stunnel(tmp_path / "back", port, paper=tunnelled, trusts=office.ca, client=True) as back:
        peers = {**make_peers(), "PACSIFIER": (LOOPBACK, back)}
        with (
            start_dcmqrscp(tmp_path / "pacs", hospital.files, peers) as server,
            stunnel(tmp_path / "there", server.port, paper=tunnelled, trusts=office.ca) as there,
        ):
            options = [*office.options(ours), "--tls_name", NAME]
            done = run(server, tmp_path / "run", EVERYONE, "--save", *options, port=there, move_port=port)
    assert done.status == 0, done.stderr
    assert brought(done, hospital)


def test_a_pinned_certificate_counts_as_verified_whatever_its_name(behind, dcmqrscp, office, tmp_path):
    done = run(
        *(dcmqrscp, tmp_path, EVERYONE, "--info", "--tls", "--tls_ca", office.folder / "stunnel.crt"),
        port=behind,
    )
    assert done.status == 0, done.stderr


def test_trust_may_be_a_folder(behind, dcmqrscp, office, tmp_path):
    trusted = tmp_path / "trusted"
    trusted.mkdir()
    shutil.copy(Office(tmp_path / "another").ca, trusted / "another.pem")
    shutil.copy(office.ca, trusted / "office.crt")
    (trusted / "README").write_text("what is here")
    options = ["--tls", "--tls_ca", trusted, "--tls_name", NAME]
    assert run(dcmqrscp, tmp_path, ONE, "--info", *options, port=behind).status == 0


def test_upload_goes_by_tls(orthanc_tls, office, ours, hospital, tmp_path):
    folder = tmp_path / "files"
    folder.mkdir()
    for number, path in enumerate(hospital.files[:5]):
        shutil.copy(path, folder / f"{number}.dcm")
    config = orthanc_tls.write_config(tmp_path / "config.json")
    done = run_arguments(tmp_path, ["--upload", "-ud", folder, "-c", config, *office.options(ours)])
    assert done.status == 0, done.stderr
    assert "5 stored" in done.stderr


def test_a_move_elsewhere_says_what_goes_by_tls(behind, dcmqrscp, office, tmp_path):
    done = run(
        *(dcmqrscp, tmp_path, ONE, "--move", *office.options(), "--tls_name", NAME),
        port=behind,
        move_AET=dcmqrscp.move_aet,
    )
    assert "only what is asked goes by TLS" in done.stderr
    assert done.status == 1  # nobody is there


def test_python_is_given_tls_as_a_value(orthanc_tls, office, ours, hospital, tmp_path):
    tls = Tls(ca=office.ca, cert=ours.cert, key=ours.key)
    found = api.find(orthanc_tls.config(), EVERYONE, tls=tls)
    assert len(found.rows) == len(hospital.by_series)
    assert api.save(orthanc_tls.config(), ONE, tmp_path / "out", tls=tls).complete
    config = orthanc_tls.write_config(tmp_path / "config.json")
    assert api.check(config, tmp_path / "out", tls=tls).ok
    with pytest.raises(AssociationError, match="Give --tls_cert and --tls_key"):
        api.find(orthanc_tls.config(), ONE, tls=Tls(ca=office.ca))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_run_that_is_ended_leaves_nothing_and_goes_on(number, orthanc_tls, options, hospital, tmp_path):
    args = arguments(orthanc_tls, tmp_path, EVERYONE, "--save", *options)
    status, stderr, mark = interrupt(args, number, lambda: has_received(tmp_path / "out"))
    assert status == (130 if number == signal.SIGINT else -signal.SIGKILL), stderr
    until(lambda: not processes(mark), 10)
    until(lambda: port_is_free(orthanc_tls.our_port), 10)
    done = run_arguments(tmp_path / "out", [*args, "--resume"])
    assert done.status == 0, done.stderr
    assert brought(done, hospital)


# --- a site names it once ------------------------------------------------------------------------------------------


def test_a_site_file_says_it_for_every_run_and_options_win(behind, dcmqrscp, office, tmp_path, monkeypatch):
    shutil.copy(office.ca, tmp_path / "authority.pem")
    site = site_file(tmp_path / "site.json", tls=True, tls_ca="authority.pem", tls_name=NAME)
    assert run(dcmqrscp, tmp_path, ONE, "--info", "--site", site, port=behind).status == 0
    monkeypatch.setenv("PACSIFIER_SITE", str(site))
    assert run(dcmqrscp, tmp_path, ONE, "--info", port=behind).status == 0
    other = run(dcmqrscp, tmp_path, ONE, "--info", "--tls_name", "other.example.org", port=behind)
    assert other.status == 3
    assert f"the certificate is of {NAME}, and not of other.example.org" in other.stderr


def test_a_faulty_site_file_is_told_with_its_keys(dcmqrscp, tmp_path):
    site = site_file(tmp_path / "site.json", tls="yes", tls_certificate="x.pem")
    done = run(dcmqrscp, tmp_path, ONE, "--info", "--site", site)
    assert done.status == 2
    assert "'tls': 'yes': allowed: true or false" in done.stderr
    assert "'tls_certificate': 'x.pem': unknown key" in done.stderr


# --- what is wrong is named --------------------------------------------------------------------------------------


def refused(server: Server, folder: Path, status: int, *options: object, **config: object) -> str:
    done = run(server, folder, ONE, "--info", *options, **config)
    assert done.status == status, done.stderr
    return done.stderr


def test_a_pacs_that_is_asked_in_plain_and_wants_tls_is_told_as_that(orthanc_tls, behind, dcmqrscp, tmp_path):
    for server, port in ((orthanc_tls, orthanc_tls.port), (dcmqrscp, behind)):
        said = refused(server, tmp_path / server.kind, 3, port=port)
        assert "This PACS may want TLS" in said
        assert "declare" not in said


def test_a_plain_pacs_that_is_asked_by_tls_is_told_as_that(dcmqrscp, orthanc, office, tmp_path):
    for server in (dcmqrscp, orthanc):
        said = refused(server, tmp_path / server.kind, 3, *office.options())
        assert "or leave out --tls, where the PACS has none" in said


def test_a_certificate_of_another_name_is_refused_and_both_are_named(behind, dcmqrscp, office, tmp_path):
    said = refused(dcmqrscp, tmp_path, 3, *office.options(), port=behind)
    assert f"the certificate is of {NAME}, and not of {LOOPBACK}" in said


def test_a_certificate_of_a_foreign_authority_is_refused(behind, dcmqrscp, tmp_path):
    foreign = Office(tmp_path / "foreign")
    said = refused(dcmqrscp, tmp_path, 3, *foreign.options(), "--tls_name", NAME, port=behind)
    assert f"is of no authority in --tls_ca ({foreign.ca})" in said
    assert NAME in said


@pytest.mark.parametrize("pinned", [False, True])
def test_an_expired_certificate_is_refused_with_its_date(pinned, dcmqrscp, office, tmp_path):
    ended = datetime.datetime(2024, 3, 1, tzinfo=datetime.timezone.utc)
    paper = office.issue("expired", NAME, ends=ended)
    trusted = ["--tls", "--tls_ca", paper.cert] if pinned else office.options()
    with stunnel(tmp_path / "tunnel", dcmqrscp.port, paper=paper, trusts=None) as port:
        said = refused(dcmqrscp, tmp_path, 3, *trusted, "--tls_name", NAME, port=port)
    assert "has expired on 2024-03-01" in said


def test_a_pacs_that_demands_a_certificate_says_so(orthanc_tls, office, tmp_path):
    said = refused(orthanc_tls, tmp_path, 3, *office.options())
    assert "Give --tls_cert and --tls_key" in said


def test_a_pacs_that_does_not_trust_our_authority_says_so(orthanc_tls, office, tmp_path):
    paper = Office(tmp_path / "foreign").issue("ours", "research.example.org")
    said = refused(orthanc_tls, tmp_path, 3, *office.options(paper))
    assert f"the PACS does not accept our certificate ({paper.cert})" in said
    assert "trust the authority that issued it" in said


def test_a_pacs_that_is_not_there_is_told_as_without_tls(dcmqrscp, office, tmp_path):
    said = refused(dcmqrscp, tmp_path, 3, *office.options(), port=free_port())
    assert "Connection refused" in said
    assert "Check server_address and port" in said
    said = refused(dcmqrscp, tmp_path / "b", 3, *office.options(), server_address="no-such-host.invalid")
    assert "Check the spelling of server_address" in said


def test_what_the_pacs_refuses_over_tls_is_told_as_without(orthanc_tls, office, ours, tmp_path):
    said = refused(orthanc_tls, tmp_path, 3, *office.options(ours), server_AET="NOBODY")
    assert "Called AE Title Not Recognized" in said
    assert f"{LOOPBACK}:{orthanc_tls.port}" in said


def test_a_pacs_that_sends_with_a_foreign_certificate_is_refused_and_told(
    orthanc_tls, office, ours, tmp_path
):
    """The PACS is pinned by its certificate alone, which storescp takes for no authority."""
    options = [
        "--tls",
        "--tls_ca",
        office.folder / "orthanc.crt",
        "--tls_cert",
        ours.cert,
        "--tls_key",
        ours.key,
    ]
    done = run(orthanc_tls, tmp_path, ONE, "--save", *options)
    assert done.status == 1
    assert "a caller's TLS was not good" in done.stderr
    assert "show a certificate of an authority in" in done.stderr
    assert instance_paths(done.out) == []


def test_saving_without_a_certificate_of_ours_is_refused_before_anything(behind, dcmqrscp, office, tmp_path):
    done = run(dcmqrscp, tmp_path, ONE, "--save", *office.options(), "--tls_name", NAME, port=behind)
    assert done.status == 2
    assert "needs --tls_cert and --tls_key" in done.stderr
    for remedy in ("--retrieve_method get", "--tls_plain_images"):
        assert remedy in done.stderr
    done = run(
        *(dcmqrscp, tmp_path, ONE, "--save", "--retrieve_method", "auto", *office.options()),
        *("--tls_name", NAME),
        port=behind,
    )
    assert done.status == 0, done.stderr
    assert "C-GET is used instead of C-MOVE" in done.stderr


# --- files here --------------------------------------------------------------------------------------------------


def test_a_key_that_others_may_read_is_refused(orthanc_tls, office, tmp_path):
    paper = office.issue("open", "research.example.org")
    paper.key.chmod(0o644)
    said = refused(orthanc_tls, tmp_path, 2, *office.options(paper))
    assert f"chmod 600 {paper.key}" in said


@pytest.mark.parametrize(
    ("mode", "owner", "good"),
    [(0o600, 1000, True), (0o400, 1000, True), (0o640, 1000, False), (0o644, 0, False), (0o640, 0, True)],
)
def test_whose_eyes_a_key_may_be_for(mode: int, owner: int, good: bool, ours: Paper, monkeypatch):
    real = Path.stat

    def stat(path: Path, **how: bool) -> os.stat_result:
        found = real(path, **how)
        return (
            os.stat_result((0o100000 | mode, *found[1:4], owner, *found[5:])) if path == ours.key else found
        )

    monkeypatch.setattr(Path, "stat", stat)
    with contextlib.nullcontext() if good else pytest.raises(InputError, match="chmod 600"):
        check_files(Tls(None, ours.cert, ours.key))


def test_every_fault_of_config_and_files_is_told_at_once(orthanc_tls, office, tmp_path):
    (tmp_path / "empty.pem").write_text("nothing")
    options = ["--tls", "--tls_ca", tmp_path / "empty.pem", "--tls_cert", office.ca]
    said = refused(orthanc_tls, tmp_path, 2, *options, port="104")
    for each in ("'port'", "holds no certificate in PEM", "--tls_cert and --tls_key go together"):
        assert each in said


def test_files_that_do_not_fit_are_named(office, ours, tmp_path):
    other = office.issue("other", "x.example.org")
    ended = datetime.datetime(2024, 3, 1, tzinfo=datetime.timezone.utc)
    expired = office.issue("ours-expired", "x.example.org", ends=ended)
    cases = {
        "is not the key of the certificate": Tls(office.ca, ours.cert, other.key),
        "has expired on 2024-03-01": Tls(office.ca, expired.cert, expired.key),
        "holds no certificate in PEM": Tls(office.ca, ours.key, ours.key),
        "is no private key in PEM": Tls(office.ca, ours.cert, office.folder / "ours.crt"),
        "cannot be read: No such file": Tls(tmp_path / "none.pem"),
    }
    (office.folder / "ours.crt").chmod(0o600)
    for words, tls in cases.items():
        with pytest.raises(InputError, match=words):
            api.find({}, ONE, tls=tls)


def test_a_key_with_a_password_is_refused_and_nobody_is_asked(office, ours, tmp_path):
    key = tmp_path / "locked.key"
    key.touch(mode=0o600)
    lines = ours.key.read_text().splitlines()
    key.write_text(
        "\n".join([lines[0], "Proc-Type: 4,ENCRYPTED", "DEK-Info: AES-256-CBC,00", "", *lines[1:], ""])
    )
    with pytest.raises(InputError, match="needs a password"):
        api.find({}, ONE, tls=Tls(office.ca, ours.cert, key))


def test_what_belongs_to_tls_is_no_good_without_it(dcmqrscp, office, tmp_path):
    said = refused(dcmqrscp, tmp_path, 2, "--tls_ca", office.ca)
    assert "--tls_ca is for --tls: without it nothing is encrypted" in said


# --- the check ---------------------------------------------------------------------------------------------------


def test_a_check_goes_step_by_step(orthanc_tls, office, ours, tmp_path):
    orthanc_tls.write_config(tmp_path / "config.json")
    done = check(tmp_path, "--yes", *office.options(ours))
    assert done.status == 0, done.stdout
    steps = ["name resolution", "TCP", "TLS handshake", "certificate of the PACS", "association and C-ECHO"]
    assert [name for name in done.probes if name in steps] == steps
    assert {done.outcome(name) for name in (*steps, "TLS files", "C-MOVE to this machine")} == {"ok"}
    assert "until 3000-01-01; verified as 127.0.0.1" in done.probes["certificate of the PACS"][1]


def test_a_check_stops_at_the_step_that_fails(orthanc_tls, office, ours, tmp_path):
    orthanc_tls.write_config(tmp_path / "config.json")
    done = check(tmp_path, *office.options(ours), "--tls_name", "other.example.org")
    assert done.status == 3
    assert done.outcome("TCP") == "ok"
    assert done.outcome("TLS handshake") == "FAILED"
    assert done.outcome("association and C-ECHO") == "skipped"
    plain = check(tmp_path)
    assert plain.status == 3
    assert "This PACS may want TLS" in plain.probes["association and C-ECHO"][2]
    unasked = check(tmp_path, *office.options())
    assert "Give --tls_cert and --tls_key" in unasked.probes["association and C-ECHO"][2]


def test_a_check_names_a_key_that_cannot_be_used(orthanc_tls, office, tmp_path):
    orthanc_tls.write_config(tmp_path / "config.json")
    paper = office.issue("open-too", "research.example.org")
    paper.key.chmod(0o604)
    done = check(tmp_path, *office.options(paper))
    assert done.status == 2
    assert done.outcome("TLS files") == "FAILED"
    assert done.outcome("TLS handshake") == "skipped"


def test_certificates_that_end_soon_are_warned_of(behind, dcmqrscp, office, tmp_path):
    soon = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=9, hours=1)
    paper = office.issue("soon", "research.example.org", ends=soon)
    dcmqrscp.write_config(tmp_path / "config.json", port=behind)
    done = check(tmp_path, *office.options(paper), "--tls_name", NAME)
    assert done.outcome("TLS files") == "warning"
    assert "it ends in 9 days" in done.probes["TLS files"][1]
    said = refused(dcmqrscp, tmp_path, 0, *office.options(paper), "--tls_name", NAME, port=behind)
    assert "it ends in 9 days" in said


def test_relative_paths_are_meant_from_where_the_command_is_typed(
    behind, dcmqrscp, office, tmp_path, monkeypatch
):
    shutil.copy(office.ca, tmp_path / "authority.pem")
    monkeypatch.chdir(tmp_path)
    write_query(tmp_path / "query.csv", ONE)
    dcmqrscp.write_config(tmp_path / "config.json", port=behind)
    options = ["--tls", "--tls_ca", "authority.pem", "--tls_name", NAME]
    done = run_arguments(
        tmp_path / "out", ["--info", "-c", "config.json", "-q", "query.csv", "-d", "out", *options]
    )
    assert done.status == 0, done.stderr

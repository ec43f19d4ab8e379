"""What is said of TLS, by tables; and what a run in plain does not pay for it."""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from pacs.secure import Office
from pacs.servers import LOOPBACK, find_binary, free_port

from pacsifier.cli import docker
from pacsifier.cli.retrieve import build_parser
from pacsifier.cli.site import KEYS, fill_from_site, tls_of
from pacsifier.config import SITE_SCHEMA, PacsConfig, Tls, load_site
from pacsifier.dcmtk.storescp import Receiver
from pacsifier.dcmtk.tls import (
    Shown,
    receiver_arguments,
    receiver_faults,
    refused_handshake,
    told,
    trusted_certificates,
    wrong_certificate,
)
from pacsifier.dcmtk.toolbox import Toolbox
from pacsifier.errors import InputError

NOW = datetime(2026, 5, 1, tzinfo=timezone.utc)
SHOWN = Shown("pacs", ("pacs.example.org", "10.0.0.5"), NOW - timedelta(days=100), NOW - timedelta(days=1))
CA = Path("/etc/ca.pem")


@pytest.fixture(autouse=True)
def _no_site(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PACSIFIER_SITE", raising=False)


@pytest.mark.parametrize(
    ("code", "shown", "said"),
    [
        (10, SHOWN, "(pacs.example.org, 10.0.0.5) has expired on 2026-04-30"),
        (10, None, "the certificate of the PACS has expired"),
        (9, SHOWN, "is not valid before 2026-01-21"),
        (62, SHOWN, "is of pacs.example.org, 10.0.0.5, and not of pacs"),
        (64, None, "is of another name, and not of pacs"),
        (18, SHOWN, "is of no authority in --tls_ca (/etc/ca.pem): in OpenSSL's words"),
        (20, SHOWN, "is of no authority in --tls_ca (/etc/ca.pem)"),
        (26, SHOWN, "is not good: in OpenSSL's words"),
    ],
)
def test_what_is_wrong_with_a_certificate_is_said_with_what_it_shows(code, shown, said):
    wrong = wrong_certificate(code, "in OpenSSL's words", shown, "pacs", CA)
    assert said in wrong.said
    assert wrong.remedy


@pytest.mark.parametrize(
    ("reason", "said", "remedy"),
    [
        ("TLSV13_ALERT_CERTIFICATE_REQUIRED", "us without a certificate", "Give --tls_cert"),
        ("SSLV3_ALERT_HANDSHAKE_FAILURE", "us without a certificate", "may want a certificate"),
        ("TLSV1_ALERT_UNKNOWN_CA", "the PACS does not accept", "trust the authority"),
        ("SSLV3_ALERT_CERTIFICATE_EXPIRED", "the PACS does not accept", "Get a new one"),
        ("WRONG_VERSION_NUMBER", "speaks no TLS", "leave out --tls"),
        ("TLSV1_ALERT_PROTOCOL_VERSION", "no TLS 1.2 or later", "stunnel"),
        ("UNSUPPORTED_PROTOCOL", "no TLS 1.2 or later", "stunnel"),
        ("SOMETHING_ELSE", "failed: something else", "log of the PACS"),
    ],
)
def test_what_ended_a_handshake_is_said_with_a_remedy(reason, said, remedy):
    wrong = refused_handshake(reason, Tls())
    assert said in wrong.said
    assert remedy in wrong.remedy


def test_a_certificate_is_shown_as_python_decodes_it():
    decoded = {
        "subject": ((("commonName", "pacs"),),),
        "subjectAltName": (("DNS", "pacs.example.org"), ("IP Address", "10.0.0.5")),
        "notBefore": "Jan  1 00:00:00 2026 GMT",
        "notAfter": "Apr 30 00:00:00 2026 GMT",
    }
    assert str(Shown.of(decoded)) == "pacs.example.org, 10.0.0.5, until 2026-04-30"
    assert Shown.of({**decoded, "subjectAltName": ()}).named == "pacs"
    assert told(NOW + timedelta(days=31), NOW, 30) == ""
    assert told(NOW + timedelta(days=3), NOW, 30) == "it ends in 3 days"


def test_a_receiver_demands_a_certificate_and_asks_for_no_password():
    assert receiver_arguments(None) == []
    arguments = receiver_arguments(Tls(CA, Path("/c.pem"), Path("/k.pem")))
    assert arguments[:3] == ["+tls", "/k.pem", "/c.pem"]
    assert {"-rc", "-pw", "+cf"} <= set(arguments)


@pytest.mark.parametrize(
    ("tls", "faults"),
    [(None, 0), (Tls(CA, CA, CA), 0), (Tls(CA), 1), (Tls(None, CA, CA), 1), (Tls(), 2)],
)
def test_what_a_receiver_lacks_is_said(tls, faults):
    assert len(receiver_faults(tls)) == faults


def test_plain_images_are_received_in_plain():
    config = PacsConfig("pacs", 104, "PACS", "ME", "ME", 11112, 30, 0)
    assert config.receiver_tls is None
    for plain in (False, True):
        tls = Tls(CA, CA, CA, plain_images=plain)
        secure = PacsConfig("pacs", 104, "PACS", "ME", "ME", 11112, 30, 0, tls)
        assert secure.receiver_tls == (None if plain else tls)


def test_only_certificates_are_taken_out_of_what_is_trusted(tmp_path):
    office = Office(tmp_path / "office")
    paper = office.issue("p", "x.example.org")
    both = tmp_path / "both.pem"
    both.write_bytes(paper.key.read_bytes() + office.ca.read_bytes() + office.ca.read_bytes())
    assert trusted_certificates(both).count("BEGIN CERTIFICATE") == 1
    assert "PRIVATE" not in trusted_certificates(both)
    with pytest.raises(InputError, match="holds no certificate in PEM"):
        trusted_certificates(paper.key)


# --- options and the site file -----------------------------------------------------------------------------------


def parsed(text: str) -> argparse.Namespace:
    return build_parser().parse_args(["-c", "c.json", "--info", "-q", "q.csv", *shlex.split(text)])


def test_every_key_of_a_site_file_is_an_option():
    options = {action.dest for action in build_parser()._actions}
    assert set(KEYS) == set(SITE_SCHEMA["properties"])
    assert set(KEYS) <= options


def test_no_option_means_no_tls():
    assert tls_of(parsed("")) is None


def test_a_site_file_names_its_files_from_where_it_lies(tmp_path, monkeypatch):
    site = tmp_path / "site.json"
    site.write_text(json.dumps({"tls": True, "tls_ca": "ca.pem", "tls_key": "/k", "tls_plain_images": True}))
    expected = Tls(tmp_path / "ca.pem", None, Path("/k"), "", plain_images=True)
    assert tls_of(parsed(f"--site {site}")) == expected
    assert tls_of(parsed(f"--site {site} --tls_name pacs")).name == "pacs"  # type: ignore[union-attr]
    monkeypatch.chdir(tmp_path)
    assert load_site(Path("site.json"))["tls_ca"] == tmp_path / "ca.pem"
    monkeypatch.setenv("PACSIFIER_SITE", "site.json")
    assert tls_of(parsed("")) == expected


def test_a_site_without_tls_changes_nothing(tmp_path):
    site = tmp_path / "site.json"
    site.write_text("{}")
    assert tls_of(parsed(f"--site {site}")) is None
    site.write_text(json.dumps({"tls_ca": "ca.pem"}))
    assert tls_of(parsed(f"--site {site}")) is None
    assert tls_of(parsed(f"--site {site} --tls")) == Tls(tmp_path / "ca.pem")


def test_an_option_of_tls_alone_is_not_passed_over_in_silence():
    for option in ("--tls_ca x", "--tls_cert x", "--tls_key x", "--tls_name x", "--tls_plain_images"):
        with pytest.raises(InputError, match="is for --tls: without it nothing is encrypted"):
            fill_from_site(parsed(option))


def test_a_name_is_no_address_with_a_port(capsys):
    with pytest.raises(SystemExit):
        parsed("--tls --tls_name 'pacs example'")
    assert "a host name or IP address" in capsys.readouterr().err


def test_the_container_gets_the_files_and_no_site_file(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PACSIFIER_SITE", "site/site.json")
    (tmp_path / "site").mkdir()
    (tmp_path / "ca").mkdir()
    for name in ("c.json", "q.csv", "site/us.crt", "site/us.key", "ca/one.pem"):
        (tmp_path / name).touch()
    (tmp_path / "site/site.json").write_text(
        json.dumps({"tls": True, "tls_cert": "us.crt", "tls_key": "us.key", "tls_name": "pacs"})
    )
    argv = ["-c", "c.json", "-q", "q.csv", "--save", "--tls_ca", "ca", "--print"]
    assert docker.main(argv, "docker_pacsifier") == 0
    words = shlex.split(capsys.readouterr().out)
    command = words[words.index("pacsifier") :]
    assert {
        *("--tls", "--tls_name=pacs", f"--tls_ca=/host{tmp_path}/ca"),
        *(f"--tls_cert=/host{tmp_path}/site/us.crt", f"--tls_key=/host{tmp_path}/site/us.key"),
    } <= set(command)
    assert not any("site.json" in word for word in words)
    for name in ("ca", "site/us.crt", "site/us.key"):
        assert any(f"source={tmp_path}/{name}," in word and "readonly" in word for word in words)


# --- what it costs who does not want it ------------------------------------------------------------------------------


def test_a_run_in_plain_never_loads_ssl():
    code = (
        "import sys, pacsifier.cli.retrieve, pacsifier.cli.checkup, pacsifier.transfer.retrieve, "
        "pacsifier.transfer.upload, pacsifier.checkup.site\n"
        "print([name for name in ('ssl', '_ssl', 'pacsifier.dcmtk.dialing', 'pacsifier.dcmtk.forwarder') "
        "if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# --- the port on which images come -------------------------------------------------------------------------------


def test_a_receiver_by_tls_is_closed_to_strangers(tmp_path):
    office = Office(tmp_path / "office")
    ours, pacs = office.issue("ours", "us.example.org"), office.issue("pacs", "pacs.example.org")
    strange = Office(tmp_path / "strange").issue("pacs", "pacs.example.org")
    port = free_port()
    staging = tmp_path / "staging"
    staging.mkdir()

    def gets_in(*options: object) -> bool:
        """Whether there is an association, though none for C-ECHO, which is not taken here."""
        argv = [find_binary("echoscu"), "-v", "-to", "3", "-ta", "3", "-aec", "ME", *map(str, options)]
        done = subprocess.run([*argv, LOOPBACK, str(port)], capture_output=True, check=False)
        return b"No Acceptable Presentation Contexts" in done.stdout + done.stderr

    with Toolbox() as toolbox:
        tls = Tls(office.ca, ours.cert, ours.key)
        with Receiver(toolbox, staging, "ME", port, [], tls=tls) as receiver:
            assert receiver.tls_fault() == ""
            assert gets_in("+tls", pacs.key, pacs.cert, "+cf", office.ca)
            assert not gets_in()
            assert not gets_in("+tla", "-ic")
            assert not gets_in("+tls", strange.key, strange.cert, "+cf", office.ca)
            assert "certificate verify failed" in receiver.tls_fault()
            assert gets_in("+tls", pacs.key, pacs.cert, "+cf", office.ca)

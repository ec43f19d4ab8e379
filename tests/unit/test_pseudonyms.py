"""Pseudonyms: nobody left out, nobody twice, the token nowhere, shifts never redrawn in silence."""

from __future__ import annotations

import csv
import json
import os
import re
import socketserver
import stat
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import trustme
from commands import Done, invoke
from hypothesis import given, settings
from hypothesis import strategies as st
from pacs.servers import free_port
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from pacsifier.config import DeidServiceConfig, load_deid_config
from pacsifier.disk.names import slug
from pacsifier.errors import InputError
from pacsifier.flows import deid_service
from pacsifier.flows.deid_service import DeidService
from pacsifier.flows.get_pseudonyms import from_mapping, read_mapping

TOKEN = "s3cr3t-T0ken.0123456789"
QUERY = "PatientID,StudyDate\n123421,20150512\n45322,\n123421,\nSYN 05,\n"
PATIENTS = ["123421", "45322", "SYN 05"]


class Service:
    """A de-ID service; `pseudonyms` and `shifts` may be changed, `asked` holds the bodies in order."""

    def __init__(self, server: HTTPServer) -> None:
        self.server = server
        self.asked: list[tuple[str, Any]] = []
        self.heads: list[Mapping[str, str]] = []
        self.pseudonyms: dict[str, Any] = {}
        self.shifts: dict[str, Any] = {}
        self.failures: list[Response] = []
        server.expect_request(re.compile("/deid(_shift)?"), method="POST").respond_with_handler(self._answer)

    @property
    def url(self) -> str:
        return self.server.url_for("/deid")

    def _answer(self, request: Request) -> Response:
        self.heads.append(dict(request.headers))
        if self.failures:
            return self.failures.pop(0)
        body = request.get_json()
        self.asked.append((request.path, body))
        patients = [each["PatientID"] for each in body["PatientIDList"]]
        if request.path.endswith("_shift"):
            answer = {f"sub-{each}": self.shifts.get(each, "-3") for each in patients}
        else:
            answer = {f"sub-{each}": self.pseudonyms.get(each, f"P-{slug(each)}") for each in patients}
        kept = {key: value for key, value in answer.items() if value is not None}
        return Response(json.dumps(kept), content_type="application/json")


@pytest.fixture
def service(httpserver: HTTPServer) -> Service:
    return Service(httpserver)


def run(*arguments: object, cwd: Path, **environment: str) -> Done:
    done = invoke("get_pseudonyms", *arguments, cwd=cwd, **environment)
    assert TOKEN not in done.stdout + done.stderr
    assert done.stdout == ""
    return done


def ask(service: Service, folder: Path, *more: object, **environment: str) -> Done:
    config = {"deid_URL": service.url, "deid_token": TOKEN}
    (folder / "deid.json").write_text(json.dumps(config), encoding="utf-8")
    if not (folder / "query.csv").exists():
        (folder / "query.csv").write_text(QUERY, encoding="utf-8")
    fixed = ("-c", "deid.json", "-q", "query.csv", "-a", "PROJ", "-d", "new/ids")
    return run(*fixed, *more, cwd=folder, **environment)


def content(folder: Path) -> dict[str, Any]:
    out = folder / "new" / "ids"
    return {path.name: path.read_text(encoding="utf-8") for path in sorted(out.iterdir())}


# --- the service ---------------------------------------------------------------------------------------------------


def test_the_files_hold_what_the_service_said_in_the_documented_shape(service, tmp_path):
    service.shifts = {"45322": 17}
    done = ask(service, tmp_path)
    assert done.returncode == 0, done.stderr
    assert service.asked == [
        ("/deid", {"project": "PROJ", "PatientIDList": [{"PatientID": each} for each in PATIENTS]}),
        ("/deid_shift", {"project": "PROJ", "PatientIDList": [{"PatientID": each} for each in PATIENTS]}),
    ]
    assert {head["Authorization"] for head in service.heads} == {f"token {TOKEN}"}
    files = content(tmp_path)
    assert set(files) == {"new_ids_PROJ.json", "day_shift_PROJ.json", "log_get_pseudonyms.csv"}
    assert list(json.loads(files["new_ids_PROJ.json"]).items()) == [
        ("sub-123421", "P-123421"),
        ("sub-45322", "P-45322"),
        ("sub-SYN 05", "P-SYN_05"),
    ]
    assert json.loads(files["day_shift_PROJ.json"]) == {"sub-123421": -3, "sub-45322": 17, "sub-SYN 05": -3}
    assert list(csv.reader(files["log_get_pseudonyms.csv"].splitlines())) == [
        ["PatientID", "StudyDate", "NewPseudonym", "DayShift"],
        ["123421", "20150512", "P-123421", "-3"],
        ["45322", "", "P-45322", "17"],
        ["123421", "", "P-123421", "-3"],
        ["SYN 05", "", "P-SYN_05", "-3"],
    ]
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in (tmp_path / "new" / "ids").iterdir())


@pytest.mark.parametrize(
    ("said", "meant"), [(17, 17), ("17", 17), (" -4 ", -4), ("+5", 5), (3.0, 3), (-0.0, 0)]
)
def test_a_whole_number_of_days_may_be_spelled_as_json_allows(service, tmp_path, said, meant):
    service.shifts = {"45322": said}
    assert ask(service, tmp_path).returncode == 0
    assert json.loads(content(tmp_path)["day_shift_PROJ.json"])["sub-45322"] == meant


def test_a_second_run_changes_nothing_and_a_further_query_adds(service, tmp_path):
    ask(service, tmp_path)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "new" / "ids").iterdir()}
    assert ask(service, tmp_path).returncode == 0
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "new" / "ids").iterdir()} == before
    (tmp_path / "query.csv").write_text("PatientID\n777\n", encoding="utf-8")
    done = ask(service, tmp_path)
    assert "3 patients of earlier runs were kept" in done.stderr
    assert set(json.loads(content(tmp_path)["new_ids_PROJ.json"])) == {
        *(f"sub-{each}" for each in PATIENTS),
        "sub-777",
    }


def test_a_service_that_changes_its_mind_changes_no_file(service, tmp_path):
    ask(service, tmp_path)
    before = content(tmp_path)
    service.pseudonyms = {"45322": "OTHER"}
    done = ask(service, tmp_path)
    assert (done.returncode, content(tmp_path)) == (2, before)
    assert "1 patient: '45322'" in done.stderr
    assert "move the file away" in done.stderr


def test_500_patients_a_request_at_most(service, tmp_path):
    rows = "".join(f"{number}\n" for number in range(1001))
    (tmp_path / "query.csv").write_text(f"PatientID\n{rows}", encoding="utf-8")
    assert ask(service, tmp_path).returncode == 0
    assert [len(body["PatientIDList"]) for _, body in service.asked] == [500, 500, 1, 500, 500, 1]
    assert len(json.loads(content(tmp_path)["new_ids_PROJ.json"])) == 1001


@pytest.mark.parametrize(
    ("pseudonyms", "shifts", "said"),
    [
        ({"45322": None}, {}, "no pseudonyms for 1 patient: '45322'"),
        ({}, {"SYN 05": None}, "no day shifts for 1 patient: 'SYN 05'"),
        ({"45322": ""}, {}, "an empty pseudonym for 1 patient: '45322'"),
        ({"45322": "  "}, {}, "an empty pseudonym for 1 patient"),
        ({"45322": "X", "123421": "X"}, {}, "one pseudonym twice for 2 patients: '123421', '45322'"),
        ({"45322": "a b", "123421": "A_B"}, {}, "one pseudonym twice for 2 patients"),
        ({"45322": "A\\B"}, {}, "no valid LO or names no folder for 1 patient"),
        ({"45322": "x" * 65}, {}, "no valid LO or names no folder for 1 patient"),
        ({"45322": ".."}, {}, "no valid LO or names no folder for 1 patient"),
        ({"45322": 7}, {}, "no texts for 1 patient: '45322'"),
        ({}, {"45322": 1.5}, "no whole numbers of days for 1 patient: '45322'"),
        ({}, {"45322": "tomorrow"}, "no whole numbers of days for 1 patient"),
        ({}, {"45322": True}, "no whole numbers of days for 1 patient"),
    ],
)
def test_who_gets_no_usable_answer_is_named_and_nothing_is_written(
    service, tmp_path, pseudonyms, shifts, said
):
    service.pseudonyms, service.shifts = pseudonyms, shifts
    done = ask(service, tmp_path)
    assert done.returncode == 1
    assert said in done.stderr
    assert not (tmp_path / "new").exists()


def test_of_many_unanswered_patients_ten_are_named_and_all_counted(service, tmp_path):
    (tmp_path / "query.csv").write_text(
        "PatientID\n" + "".join(f"N{each:02}\n" for each in range(30)), encoding="utf-8"
    )
    service.pseudonyms = {f"N{each:02}": None for each in range(30)}
    said = ask(service, tmp_path).stderr
    assert "30 patients: 'N00', " in said
    assert "and 20 more" in said
    assert "N10" not in said


@pytest.mark.parametrize(
    "body", [b"<html>Log in</html>", b"{'sub-1': 'x'}", b"[]", b'{"a": "1", "a": "2"}', b""]
)
def test_an_answer_that_is_no_json_object_is_refused_and_never_evaluated(httpserver, tmp_path, body):
    httpserver.expect_request("/deid").respond_with_data(body)
    service = Service.__new__(Service)
    service.server = httpserver
    done = ask(service, tmp_path)
    assert done.returncode == 3
    assert "JSON" in done.stderr
    assert not (tmp_path / "new").exists()


# --- what goes wrong on the way ------------------------------------------------------------------------------------


@pytest.fixture
def quick(monkeypatch):
    """Pauses that were made, in seconds; none is slept."""
    slept: list[float] = []
    monkeypatch.setattr(deid_service.time, "sleep", slept.append)
    monkeypatch.setattr(deid_service, "LONGEST_PAUSE_S", 120.0)
    return slept


def _asked(service: Service, **more: Any) -> deid_service.Answers:
    config = DeidServiceConfig(service.url, TOKEN)
    return DeidService(config, **more).ask("PROJ", PATIENTS, lambda *_: None)


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_busy_service_is_asked_again(service, quick, status):
    service.failures = [Response(status=status), Response(status=status)]
    assert len(_asked(service).pseudonyms) == 3
    assert quick == [1.0, 2.0]


def test_retry_after_is_honoured(service, quick):
    service.failures = [
        Response(status=429, headers={"Retry-After": "7"}),
        Response(status=503, headers={"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}),
    ]
    _asked(service)
    assert quick == [7.0, 2.0]


def test_a_service_that_asks_to_wait_for_an_hour_is_not_waited_for(service, quick):
    service.failures = [Response(status=503, headers={"Retry-After": "3600"})]
    with pytest.raises(deid_service.ServiceError, match="wait 3600 s"):
        _asked(service)
    assert quick == []


def test_retries_end(service, quick):
    service.failures = [Response(status=502) for _ in range(9)]
    with pytest.raises(deid_service.ServiceError, match="status 502"):
        _asked(service)
    assert (len(service.heads), quick) == (5, [1.0, 2.0, 4.0, 8.0])


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 422, 500, 301, 302, 204])
def test_other_refusals_are_asked_once_and_exit_3(service, tmp_path, status):
    elsewhere = {"Location": service.server.url_for("/elsewhere")} if status in (301, 302) else {}
    service.failures = [Response(status=status, headers=elsewhere)]
    done = ask(service, tmp_path)
    assert done.returncode == 3
    assert str(status) in done.stderr
    assert len(service.heads) == 1
    assert not (tmp_path / "new").exists()


class _Cutting(socketserver.BaseRequestHandler):
    """Cuts the first connections in the midst of the answer, then answers."""

    def handle(self) -> None:
        data = b""
        while b"\r\n\r\n" not in data:
            data += self.request.recv(65536)
        head, _, body = data.partition(b"\r\n\r\n")
        length = int(re.search(rb"content-length: (\d+)", head, re.IGNORECASE)[1])
        while len(body) < length:
            body += self.request.recv(65536)
        server: Any = self.server
        server.cuts -= 1
        if server.cuts >= 0:
            if server.cuts % 2:
                self.request.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{")
            return
        answer = json.dumps(
            {f"sub-{each['PatientID']}": "4" for each in json.loads(body)["PatientIDList"]}
        ).encode()
        self.request.sendall(
            b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(answer)
        )
        self.request.sendall(answer)


@pytest.fixture
def cutting() -> Iterator[Any]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Cutting) as server:
        server.cuts = 0  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_a_connection_that_is_cut_is_made_again(cutting, quick):
    cutting.cuts = 3
    url = f"http://127.0.0.1:{cutting.server_address[1]}/deid"
    answers = DeidService(DeidServiceConfig(url, TOKEN)).ask("PROJ", ["1"], lambda *_: None)
    assert answers.shifts == {"1": 4}
    assert quick == [1.0, 2.0, 4.0]


def test_a_service_that_is_not_there_is_said_at_once(service, tmp_path, quick):
    service.server.clear()
    (tmp_path / "deid.json").write_text(
        json.dumps({"deid_URL": f"http://127.0.0.1:{free_port()}/x", "deid_token": TOKEN}), encoding="utf-8"
    )
    (tmp_path / "query.csv").write_text(QUERY, encoding="utf-8")
    done = run("-c", "deid.json", "-q", "query.csv", "-a", "P", "-d", "out", cwd=tmp_path)
    assert done.returncode == 3
    assert "cannot be reached" in done.stderr


def test_a_silent_service_ends_by_the_time_limit(quick):
    with socketserver.TCPServer(("127.0.0.1", 0), socketserver.BaseRequestHandler) as server:
        url = f"http://127.0.0.1:{server.server_address[1]}/deid"
        with pytest.raises(deid_service.ServiceError, match=r"no answer within 0\.2 s"):
            DeidService(DeidServiceConfig(url, TOKEN), timeouts_s=(1, 0.2)).ask("P", ["1"], lambda *_: None)
    assert quick == []


def test_a_service_that_falls_silent_in_its_answer_ends_by_the_time_limit(quick):
    heard_enough = threading.Event()

    class Half(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(1 << 16)
            self.request.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
            heard_enough.wait(30)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Half) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{server.server_address[1]}/deid"
        with pytest.raises(deid_service.ServiceError, match=r"no answer within 0\.2 s"):
            DeidService(DeidServiceConfig(url, TOKEN), timeouts_s=(1, 0.2)).ask("P", ["1"], lambda *_: None)
        heard_enough.set()
        server.shutdown()
        thread.join()
    assert quick == []


def test_an_answer_without_end_is_not_read_to_the_end(httpserver, quick, monkeypatch):
    monkeypatch.setattr(deid_service, "_LARGEST_ANSWER", 1000)
    httpserver.expect_request("/deid").respond_with_data(b"x" * 2000)
    service = DeidService(DeidServiceConfig(httpserver.url_for("/deid"), TOKEN))
    with pytest.raises(deid_service.ServiceError, match="larger than"):
        service.ask("P", ["1"], lambda *_: None)


# --- TLS -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def secure(authority: trustme.CA) -> Iterator[Service]:
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(context)
    with HTTPServer(ssl_context=context) as server:
        yield Service(server)


def test_an_unknown_certificate_is_refused_and_no_patient_is_sent(secure, tmp_path):
    done = ask(secure, tmp_path)
    assert done.returncode == 3
    assert "certificate" in done.stderr
    assert "--ca_bundle" in done.stderr
    assert secure.asked == []
    assert not (tmp_path / "new").exists()


def test_a_certificate_of_the_site_is_taken_with_its_bundle(secure, authority, tmp_path):
    authority.cert_pem.write_to_path(str(tmp_path / "site.pem"))
    other = trustme.CA()
    other.cert_pem.write_to_path(str(tmp_path / "other.pem"))
    # What the environment trusts must not win over what the user says.
    done = ask(secure, tmp_path, "--ca_bundle", "other.pem", REQUESTS_CA_BUNDLE=str(tmp_path / "site.pem"))
    assert (done.returncode, secure.asked) == (3, [])
    done = ask(secure, tmp_path, "--ca_bundle", "site.pem", REQUESTS_CA_BUNDLE=str(tmp_path / "other.pem"))
    assert done.returncode == 0, done.stderr


def test_a_certificate_of_another_host_is_refused(authority, tmp_path):
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("elsewhere.example").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "site.pem"))
    with HTTPServer(ssl_context=context) as server:
        service = Service(server)
        done = ask(service, tmp_path, "--ca_bundle", "site.pem")
    assert (done.returncode, service.asked) == (3, [])


@pytest.mark.parametrize("bundle", ["absent.pem", "query.csv"])
def test_a_bundle_without_certificates_is_said_before_anything_is_asked(service, tmp_path, bundle):
    done = ask(service, tmp_path, "--ca_bundle", bundle)
    assert (done.returncode, service.asked) == (2, [])
    assert bundle in done.stderr


# --- token and config ------------------------------------------------------------------------------------------------


def test_the_token_of_the_environment_stands_for_that_of_the_config(service, tmp_path):
    (tmp_path / "deid.json").write_text(json.dumps({"deid_URL": service.url}), encoding="utf-8")
    (tmp_path / "query.csv").write_text(QUERY, encoding="utf-8")
    fixed = ("-c", "deid.json", "-q", "query.csv", "-a", "P", "-d", "out")
    assert run(*fixed, cwd=tmp_path).returncode == 2
    done = run(*fixed, cwd=tmp_path, DEID_TOKEN=TOKEN)
    assert done.returncode == 0, done.stderr
    assert {head["Authorization"] for head in service.heads} == {f"token {TOKEN}"}


def test_a_netrc_does_not_replace_the_token(service, tmp_path):
    (tmp_path / ".netrc").write_text("default login a password b\n", encoding="utf-8")
    (tmp_path / ".netrc").chmod(0o600)
    assert ask(service, tmp_path, HOME=str(tmp_path)).returncode == 0
    assert {head["Authorization"] for head in service.heads} == {f"token {TOKEN}"}


def test_the_token_is_nowhere_in_the_most_talkative_run(service, tmp_path):
    service.failures = [Response(status=401, response=TOKEN)]
    assert ask(service, tmp_path, "-v", "-v", "-v").returncode == 3
    assert ask(service, tmp_path, "-v", "-v", "-v").returncode == 0
    assert all(TOKEN not in text for text in content(tmp_path).values())
    assert TOKEN not in repr(DeidServiceConfig("https://x", TOKEN))


@pytest.mark.parametrize(
    "config",
    [
        {"deid_URL": "https://x.example/a", "deid_token": f"{TOKEN}\nX: y"},
        {"deid_URL": "https://x.example/a", "deid_token": [TOKEN]},
        {"deid_URL": "https://x.example/a", "deid_tokn": TOKEN},
        {"deid_URL": f"https://me:{TOKEN}@x.example/a", "deid_token": TOKEN},
        {"deid_URL": "ftp://x.example/a", "deid_token": TOKEN},
        {"deid_URL": f"https://x.example/a?key={TOKEN}", "deid_token": TOKEN},
        {"deid_URL": "x.example", "deid_token": TOKEN},
        {"deid_URL": "https://x.example/a", "deid_token": TOKEN, "more": TOKEN},
        [TOKEN],
    ],
)
def test_a_config_that_cannot_be_used_is_refused_without_its_values(tmp_path, config, monkeypatch):
    monkeypatch.delenv("DEID_TOKEN", raising=False)
    path = tmp_path / "deid.json"
    path.write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(InputError) as caught:
        load_deid_config(path)
    assert "deid.json" in str(caught.value)
    assert TOKEN not in str(caught.value)


# --- the query -------------------------------------------------------------------------------------------------------


def test_rows_without_a_patient_or_with_a_wildcard_are_named_before_anything_is_asked(service, tmp_path):
    (tmp_path / "query.csv").write_text("PatientID,StudyDate\n1,\n12*,\n,20180102\n2?,\n", encoding="utf-8")
    done = ask(service, tmp_path)
    assert (done.returncode, service.asked) == (2, [])
    assert "row 3, column PatientID: '12*'" in done.stderr
    assert "row 4, column PatientID" in done.stderr
    assert "row 5, column PatientID: '2?'" in done.stderr
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("project", ["", " ", "a/b", "..\\x", "a\nb", "x" * 200])
def test_a_project_that_cannot_name_a_file_is_refused(tmp_path, project):
    (tmp_path / "map.csv").write_text("1,P1\n", encoding="utf-8")
    done = run("-m", "custom", "-mf", "map.csv", "-a", project, "-d", "out", cwd=tmp_path)
    assert done.returncode == 2
    assert "--project_name" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("-a P -d out", "--mode de-id needs --config and --queryfile"),
        ("-c x -a P -d out", "needs --queryfile"),
        ("-m custom -a P -d out", "--mode custom needs --mappingfile"),
        ("-c x -q y -mf z -a P -d out", "--mappingfile is for --mode custom"),
        ("-m custom -mf z -a P -d out --new_shifts", "--new_shifts needs --shift-days"),
        ("-m other -a P -d out", "invalid choice; allowed: de-id, custom"),
        ("-c x -q y -d out", "--project_name"),
        ("-c x -q y -a P", "--out_directory"),
    ],
)
def test_what_is_missing_on_the_command_line_is_said(tmp_path, arguments, said):
    done = run(*arguments.split(), cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr


def test_faults_of_config_and_query_are_told_together(service, tmp_path):
    (tmp_path / "deid.json").write_text("{}", encoding="utf-8")
    (tmp_path / "query.csv").write_text("PatientID\n12*\n", encoding="utf-8")
    done = run("-c", "deid.json", "-q", "query.csv", "-a", "P", "-d", "out", cwd=tmp_path)
    assert done.returncode == 2
    assert "'deid_URL'" in done.stderr
    assert "'deid_token'" in done.stderr
    assert "row 2" in done.stderr


def test_extra_columns_are_refused_or_come_back_in_the_log_and_are_never_sent(service, tmp_path):
    (tmp_path / "query.csv").write_text('PatientID,Arm\n"=""123421""",A\n45322,B\n', encoding="utf-8")
    refused = ask(service, tmp_path)
    assert (refused.returncode, service.asked) == (2, [])
    assert "column Arm: unknown column" in refused.stderr
    assert ask(service, tmp_path, "--extra_columns").returncode == 0
    assert {each["PatientID"] for _, body in service.asked for each in body["PatientIDList"]} == {
        "123421",
        "45322",
    }
    assert "Arm" not in json.dumps(service.asked)
    assert content(tmp_path)["log_get_pseudonyms.csv"].splitlines()[2].startswith("45322,B,P-45322")


# --- a mapping of the user's -----------------------------------------------------------------------------------------


def custom(folder: Path, mapping: str, *more: str) -> Done:
    (folder / "map.csv").write_text(mapping, encoding="utf-8")
    return run("-m", "custom", "-mf", "map.csv", "-a", "PROJ", "-d", "new/ids", *more, cwd=folder)


def read(folder: Path, name: str) -> Any:
    return json.loads((folder / "new" / "ids" / f"{name}_PROJ.json").read_text(encoding="utf-8"))


def test_the_first_line_of_a_mapping_counts(tmp_path):
    assert custom(tmp_path, "1234,P0001\nsub-87262;x,P0002\n".replace(";x", "")).returncode == 0
    assert read(tmp_path, "new_ids") == {"sub-1234": "P0001", "sub-87262": "P0002"}
    assert read(tmp_path, "day_shift") == {"sub-1234": 0, "sub-87262": 0}
    assert sorted(content(tmp_path)) == ["day_shift_PROJ.json", "new_ids_PROJ.json"]
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in (tmp_path / "new" / "ids").iterdir())


def test_every_fault_of_a_mapping_is_named_with_its_line(tmp_path):
    lines = [
        "1,P1",
        "2,",
        ",P3",
        "4,P4,x",
        "1,P9",
        "6,P1",
        "7,A\\B",
        "8," + "x" * 65,
        "9,..",
        "10",
        "11,p_1",
        "12,Zoé",
    ]
    done = custom(tmp_path, "\n".join([*lines, "13,P 1", "14,ok", "14,ok", ""]))
    assert done.returncode == 2
    named = {int(number) for number in re.findall(r"row (\d+)", done.stderr)}
    assert named == {2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 13}
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("text", ["", "\n\n", "PatientID,new_ids\n1,P1\n", "\0\0"])
def test_a_mapping_that_is_none_is_refused(tmp_path, text):
    done = custom(tmp_path, text)
    assert done.returncode == 2
    assert "map.csv" in done.stderr


def test_shifts_stay_within_30_days_and_are_kept_by_a_second_run(tmp_path):
    mapping = "".join(f"{each},P{each}\n" for each in range(200))
    assert custom(tmp_path, mapping, "--shift-days").returncode == 0
    first = read(tmp_path, "day_shift")
    assert all(-30 <= days <= 30 and days for days in first.values())
    assert len(set(first.values())) > 20
    done = custom(tmp_path, mapping + "200,P200\n", "--shift-days")
    assert "kept for 200 patients" in done.stderr
    assert "drawn for 1 patient" in done.stderr
    second = read(tmp_path, "day_shift")
    assert {key: second[key] for key in first} == first
    assert custom(tmp_path, mapping, "--shift-days", "--new_shifts").returncode == 0
    third = read(tmp_path, "day_shift")
    assert sum(third[key] != first[key] for key in first) > 150
    assert third["sub-200"] == second["sub-200"]


def test_drawn_shifts_are_not_lost_by_forgetting_the_option(tmp_path):
    custom(tmp_path, "1,P1\n", "--shift-days")
    before = content(tmp_path)
    done = custom(tmp_path, "1,P1\n")
    assert (done.returncode, content(tmp_path)) == (2, before)
    assert "--shift-days" in done.stderr


@pytest.mark.parametrize("stranger", ["[]", "{", '{"sub-1": true}', '{"sub-1": "x"}'])
def test_a_file_of_another_kind_in_the_place_of_ours_is_not_overwritten(tmp_path, stranger):
    (tmp_path / "new" / "ids").mkdir(parents=True)
    place = tmp_path / "new" / "ids" / "day_shift_PROJ.json"
    place.write_text(stranger, encoding="utf-8")
    done = custom(tmp_path, "1,P1\n", "--shift-days")
    assert (done.returncode, place.read_text(encoding="utf-8")) == (2, stranger)
    assert "day_shift_PROJ.json" in done.stderr


def test_both_files_are_written_or_none(tmp_path, monkeypatch):
    """A disk that fills up while the second file is written."""
    from pacsifier.disk import files

    written = []
    real = os.fsync

    def full(descriptor: int) -> None:
        written.append(descriptor)
        if len(written) == 2:
            raise OSError(28, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        from_mapping({"1": "P1"}, "PROJ", tmp_path / "out", shift_days=False, new_shifts=False)
    assert not list(tmp_path.glob("out/*"))


CELLS = st.text(st.characters(codec="utf-8", exclude_characters='"\r\n'), max_size=12)


@settings(max_examples=150, deadline=None)
@given(rows=st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=5))
def test_any_mapping_is_refused_or_gives_pseudonyms_that_name_one_folder_each(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("map") / "map.csv"
    path.write_text("".join(f'"{old}","{new}"\n' for old, new in rows), encoding="utf-8")
    try:
        mapping = read_mapping(path)
    except InputError:
        return
    folders = [slug(new).casefold() for new in mapping.values()]
    assert len(set(folders)) == len(folders) == len(mapping) <= len(rows)
    assert all(re.search("[a-z0-9]", folder) for folder in folders)
    assert all(old and new.isascii() and len(new) <= 64 for old, new in mapping.items())

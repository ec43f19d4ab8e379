"""What one writes with pynetdicom and its manual at hand: find the studies of the patients, get each into files."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from pydicom.dataset import Dataset
from pynetdicom import AE, build_role, evt
from pynetdicom.sop_class import (
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelMove,
)


def main() -> None:
    """Fetches as the JSON file says."""
    job = json.loads(Path(sys.argv[1]).read_text())
    out = Path(sys.argv[2])
    out.mkdir()
    stored = [(evt.EVT_C_STORE, lambda event: _store(event, out))]
    ae = AE(job["us"][0])
    ae.add_requested_context(StudyRootQueryRetrieveInformationModelFind)
    model = StudyRootQueryRetrieveInformationModelGet
    if job["verb"] == "move":
        model = StudyRootQueryRetrieveInformationModelMove
        server = AE(job["us"][0])
        for uid in job["classes"]:
            server.add_supported_context(uid, job["syntaxes"])
        listener = server.start_server(("", job["us"][1]), block=False, evt_handlers=stored)
    ae.add_requested_context(model)
    roles = []
    if job["verb"] == "get":
        for uid in job["classes"]:
            ae.add_requested_context(uid, job["syntaxes"])
            roles.append(build_role(uid, scp_role=True))
    host, port, title = job["peer"]
    assoc = ae.associate(host, port, ae_title=title, ext_neg=roles, evt_handlers=stored)
    for study in _studies(assoc, job["patients"]):
        if job["verb"] == "move":
            statuses = [status for status, _ in assoc.send_c_move(study, job["us"][0], model)]
        else:
            statuses = [status for status, _ in assoc.send_c_get(study, model)]
        if statuses[-1].Status != 0:
            sys.exit(f"status {statuses[-1].Status:04x}")
    assoc.release()
    if job["verb"] == "move":
        listener.shutdown()


def _studies(assoc: object, patients: list[str]) -> list[Dataset]:
    found = []
    for patient in patients:
        query = Dataset()
        query.QueryRetrieveLevel, query.PatientID, query.StudyInstanceUID = "STUDY", patient, ""
        for _, answer in assoc.send_c_find(query, StudyRootQueryRetrieveInformationModelFind):  # type: ignore[attr-defined]
            if answer is not None:
                study = Dataset()
                study.QueryRetrieveLevel, study.StudyInstanceUID = "STUDY", answer.StudyInstanceUID
                found.append(study)
    return found


def _store(event: evt.Event, out: Path) -> int:
    dataset = event.dataset
    dataset.file_meta = event.file_meta
    dataset.save_as(out / f"{dataset.SOPInstanceUID}.dcm", enforce_file_format=True)
    return 0x0000


if __name__ == "__main__":
    main()

"""What columns and statuses mean, in words; which there are, the code says (`made.py` holds the two together)."""

from __future__ import annotations

from collections.abc import Mapping

Meanings = Mapping[str, str]

SERIES_LOG: Meanings = {
    "StudyInstanceUID": "the study",
    "SeriesInstanceUID": "the series",
    "SeriesNumber": "as the PACS tells it",
    "FilesFound": "instances on disk; with `--move` moved",
    "Completed": "`True`: everything of the series is there; what PACSIFIER 1.0.0 called so could be one file",
    "FilesExpected": "instances that the PACS announces; empty: it does not tell",
    "Status": "one of the statuses of a series",
    "Reason": "why it is not complete, or a note; text for people",
    "query_rows": "the rows of the query file that want it; the header is row 1",
    "Seconds": "s, how long the requests for it took",
    "Bytes": "bytes on disk",
    "Folder": "where it lies, below the output folder",
    "MoveDestination": "with `--move`: the AE title to which all of it was moved last",
    "FilesMoved": "with `--move`: how many instances that were",
    "FailedForGood": "a code, where asking again is in vain: the next run asks once, without waits",
    "FailedBy": "the way by which it failed for good: `move` with its AE title, or `get`",
    "PatientID": "of the PACS, not of the query",
    "StudyDate": "as the PACS tells it",
    "StudyTime": "as the PACS tells it",
    "SeriesDescription": "as the PACS tells it",
}

SERIES_TABLE: Meanings = {
    "announced": "instances that the PACS announces; empty: not told",
    "listed": "instances that its IMAGE level lists; empty: not asked",
    "arrived": "instances on disk; with `--move` moved",
    "bytes": "bytes on disk",
    "folder": "where it lies, below the output folder",
    "status": "one of the statuses of a series",
    "reason": "why it is not complete, or a note",
    "query_rows": "the rows of the query file that want it; the header is row 1",
    "run": "the name of the run that tells this, as in `audit.jsonl` and `summary.json`",
}

SUMMARY: Meanings = {
    "PatientID": "the patient",
    "StudyInstanceUID": "the study; empty: asked for by PatientID, and nothing was found",
    "StudyDate": "of the study",
    "outcome": "one of the outcomes of a study",
    "reason": "of the first of its series that is not settled",
    "series": "how many series of it are wanted",
    "series_complete": "how many of these are complete",
    "announced": "instances that the PACS announces for them; empty: not told",
    "arrived": "instances on disk",
    "bytes": "bytes on disk",
    "query_rows": "the rows of the query file that want it",
}

UNEXPECTED: Meanings = {
    "File": "its name in `logs/unexpected/`",
    "StudyInstanceUID": "by its own header",
    "SeriesInstanceUID": "by its own header",
    "SOPInstanceUID": "by its own header",
    "PatientID": "by its own header",
    "CallingAETitle": "who sent it, as it called itself: a word, no proof",
    "SetAsideAt": "when, with the offset from UTC",
    "Why": "nobody asked for it, it contradicts another, or its sender is not known to send it",
}

QUERY_ROWS: Meanings = {
    "row": "the row of the query file; the header is row 1",
    "outcome": "one of the outcomes of a row",
    "reason": "why, where something is left to do",
    "…": "then the columns of the query file, as they were",
}

REDO: Meanings = {
    "…": "the columns of the query file, as they were: the file is a query file itself",
    "reason": "the outcome and why; is ignored when the file is given back",
}

DRY_RUN: Meanings = {
    "row": "the row of the query file; the header is row 1",
    "outcome": "`listed`, `not_found`, `failed` ...: one of the outcomes of a row",
    "studies": "how many studies it would bring",
    "series": "how many series",
    "instances": "how many instances; empty: the PACS does not tell all numbers",
    "reason": "why, where something is in doubt",
}

AUDIT: Meanings = {
    "run": "the name of the run",
    "ended_at": "local time with the offset from UTC",
    "seconds": "s",
    "ended": "`ended`, `stopped` (it gave up), or the signal or error that ended it",
    "user": "who ran it, by the system",
    "host": "on which machine",
    "version": "of pacsifier",
    "did": "`save`, `info`, `move`, `resume`",
    "shard": "the part of the query, `1/1` for all of it",
    "retrieve_method": "with `--save`: `move`, `get` or `auto`",
    "config": "the config as it was read",
    "query_sha256": "the digest of the query file",
    "rows": "rows by outcome",
    "series": "series by status",
    "instances": "instances in place",
    "bytes": "bytes received",
    "unexpected": "objects set aside",
    "dropped": "objects beyond `--max_unexpected`",
    "excluded_series": "series of excluded patients that were not fetched",
    "excluded_objects": "their objects that came all the same and were deleted",
}

DEIDENTIFIED: Meanings = {
    "input": "the file below the in folder (identifies the patient)",
    "output": "the file below the out folder; empty: none",
    "status": "`written`, `already there` or `left out`",
    "reason": "why it was left out; of a written file, why its mark says NO",
    "patient": "the patient's folder in the output",
    "identity_removed": "PatientIdentityRemoved of the output: YES or NO",
    "way": "`raw elements`: bytes were copied; `pydicom`: the file had to be written anew",
    "removed": "how many elements were removed",
    "removed_tags": "which, as eight hexadecimal digits",
    "emptied": "how many elements were emptied",
    "emptied_tags": "which",
    "replaced": "how many elements were replaced",
    "replaced_tags": "which",
    "cleaned": "how many texts were cleaned word by word",
    "cleaned_tags": "which",
    "malformed": "how many elements did not hold what their VR allows, and were emptied or removed",
    "malformed_tags": "which",
    "pixels_rule": "boxes blanked by a rule (header, layout of a device)",
    "pixels_reader": "boxes blanked because text was read there",
    "pixels_shape": "boxes blanked because it has the shape of text",
    "pixels_person": "boxes blanked because a person drew them",
    "pixels_seen": "places seen and left: look at them",
    "pixels_kept": "words kept by `--keep_pixel_words`",
    "frames_looked_at": "frames that were looked at",
    "frames": "frames that there are",
}

VERIFIED: Meanings = {
    "file": "the file below the out folder; empty: of no file, see `what`",
    "tag": "where, as eight hexadecimal digits, or `pixels`",
    "what": "the kind of what was found again, never the value; or what was too short to be searched",
}

WORDS: Meanings = {
    "tag": "of the description, as eight hexadecimal digits",
    "word": "the word, or the whole description",
    "patients": "how many patients have it",
    "why": "why it stays or goes, or with what it became equal",
}

OFFSETS: Meanings = {
    "new_id": "the pseudonym",
    "birth_date_offset_days": "days by which the birth date moved",
    "date_offset_days": "days by which all other dates moved",
}

REPORTS: Meanings = {
    "File": "the structured report, below the data folder",
    "PatientID": "by its own header",
    "StudyDate": "by its own header",
    "StudyTime": "by its own header",
    "AccessionNumber": "by its own header",
    "StudyInstanceUID": "by its own header",
    "SeriesInstanceUID": "by its own header",
    "SOPInstanceUID": "by its own header",
    "CompletionFlag": "COMPLETE or PARTIAL",
    "VerificationFlag": "VERIFIED or UNVERIFIED",
    "Title": "of the document",
    "Text": "all of it as plain text",
}

PSEUDONYMS: Meanings = {
    "…": "the columns of the query file, as they were",
    "NewPseudonym": "what the service gave the patient",
    "DayShift": "days by which the patient's dates are to move",
}

SUMMARY_JSON: Meanings = {
    "run": "the name of the run",
    "ended": "`ended`, `stopped`, or what ended it",
    "did": "`save`, `info`, `move`, `resume`",
    "patients": "patients by outcome; `asked`, `found`, `excluded`, `opted_out`",
    "studies": "studies by outcome",
    "series": "series by status",
    "rows": "rows of the query by outcome",
    "instances": "instances in place",
    "bytes": "bytes received",
    "problems": "why the run gave up, where it did",
    "outcomes": "the rows of `summary.csv`",
}

CAPABILITIES: Meanings = {
    "format": "of this file",
    "server": "the PACS that it was made for; refused with another one",
    "checked_at": "when",
    "uid_lists": "whether several SeriesInstanceUIDs in one C-MOVE are understood; null: not known",
    "image_moves": "whether C-MOVE at the IMAGE level is",
    "associations": "how many it admits at a time",
    "relational": "whether a series is found by its UID alone",
    "c_get": "whether images come by C-GET",
    "retrieve_method": "the way that the check recommends",
    "returned_keys": "by level, which keys its answers hold",
}

KEY: Meanings = {
    "keep_apart": "a warning to whoever opens it",
    "version": "of this file",
    "secret": "32 bytes, hexadecimal: from it follow all new UIDs and shifts",
    "pseudonyms": "patient (issuer and PatientID) to pseudonym",
    "day_shifts": "patient to the days by which dates and birth date move",
    "kept_words": "words of descriptions that a person accepted",
    "shared_words": "words that stayed by their spread, and how many patients have them",
    "options": "output folder to the options of its run",
    "studies": "pseudonym to new StudyInstanceUIDs, by which an output tells its key",
}

# --- statuses: what they mean, and what to do ----------------------------------------------------------------------

SERIES_STATUS: Meanings = {
    "pending": "the run ended before it | `--resume`",
    "listed": "`--info` alone: it was looked up, nothing was to be fetched | nothing; `--save` brings it",
    "complete": "final statuses, counts and what is in place agree | nothing",
    "skipped": "an earlier run has all of it | nothing",
    "incomplete": "something of it came, not all; `Reason` says what is missing | `--resume`, then look at `Reason`",
    "failed": "nothing of it came | look at `Reason`, then `--resume`",
    "not_wanted": "its images do not match the row after all; never in a table that did not have it | nothing",
    "undecided": "the PACS told too little to know whether it is wanted | `--save` decides by the images, or ask by "
    "another column",
    "excluded": "its patient is on the list of `--exclude_patients`; stands in no table | nothing",
    "left_out": "beyond `--limit` | run without `--limit`",
}
ARRIVED = "all of it has come, and is not yet known to be on the disk itself | nothing; after a power cut `--resume`"

LASTING: Meanings = {
    "refused": "the PACS refuses the request for this series with a status that time does not change | ask the "
    "administrator what the log of the PACS says of it",
    "not_sent": "the PACS reaches the destination and failed to send instances at every try: a SOP class or transfer "
    "syntax that is not taken there, a file that it cannot read | look at `Reason`: `--sop_class`, another "
    "`--retrieve_method`, or the administrator",
    "missing": "the PACS counts as sent all that it has, and announces more | ask the administrator: its index and its "
    "files disagree",
}

ROW_OUTCOME: Meanings = {
    "complete": "all that the row wants is there | nothing",
    "listed": "all that it wants was looked up | nothing; `--save` brings it",
    "ambiguous": "it wants one patient or study, and several fit; all were taken | look whether that is what you meant",
    "excluded": "only excluded patients fit | nothing",
    "elsewhere": "with `--shard`: nothing of it is in this part | nothing; `pacsifier-merge-parts` tells the whole",
    "not_found": "the PACS has nothing that fits | check the values of the row",
    "undecided": "the PACS told too little | `--save`, or ask by another column",
    "left_out": "beyond `--limit` | run without it",
    "pending": "the run ended before it | `--resume`",
    "incomplete": "something of it is missing | `--resume`, or give `logs/redo.csv` as the query file",
    "failed": "it could not be looked up, or nothing came | look at the reason, then the same",
}

STUDY_OUTCOME: Meanings = {
    "complete": "all of it is there | nothing",
    "listed": "it was looked up, nothing was to be fetched | nothing; `--save` brings it",
    "incomplete": "some of it is missing | `--resume`",
    "missing": "nothing of it came | look at the reason, then `--resume`",
    "left_out": "beyond `--limit` | run without it",
    "not_found": "asked for by PatientID, and the PACS has nothing that fits | check the PatientID",
}

PROBE: Meanings = {
    "ok": "it works | nothing",
    "warning": "it works, or not everybody needs it | read the line behind the arrow",
    "FAILED": "it does not work | do what stands behind the arrow, and check again",
    "skipped": "what has to work before does not, or nobody agreed to it | mend that first; `--yes` agrees",
}

EXIT_STATUS: Meanings = {
    "0": "everything that was asked for is there, complete | nothing",
    "1": "the run ended, but something is missing or failed; the summary and `logs/` name it | `--resume`, or "
    "`logs/redo.csv` as the query file",
    "2": "config, query or options are wrong; nothing was asked | mend what the message names",
    "3": "the PACS (or the de-ID service) cannot be reached, refuses us, or is silent | `pacsifier --check`",
    "4": "DCMTK is absent, too old, or another program of the same name | install DCMTK, or `--dcmtk_dir`",
    "129": "ended by SIGHUP: the terminal was closed | `--resume`; next time `nohup` or `tmux`",
    "130": "ended by Ctrl-C | `--resume`",
    "143": "ended by SIGTERM | `--resume`",
}

PATH_OF_FILES: Meanings = {
    "written": "the de-identified file is there | nothing",
    "already there": "an earlier run with this key wrote it | nothing",
    "left out": "it is not in the output, `reason` says why | decide: many reasons name the option that keeps it",
}

CONFIG_KEYS: Meanings = {
    "server_address": "the PACS",
    "port": "of the PACS, where it takes queries",
    "server_AET": "the AE title of the PACS",
    "AET": "your own AE title; the PACS knows it with the address of your machine",
    "move_AET": "with `--move`: where the PACS is to send images",
    "move_port": "where your machine receives images with `--save`",
    "batch_size": "series that are fetched before a pause",
    "batch_wait_time": "s, the pause",
}

DICOM_STATUS: Meanings = {
    "0x0000": "Success; believed only when the counts agree | complete, or asked for once more | nothing",
    "0x0213": "resource limitation | asked again after a growing wait | then `--associations 1`, `--hours`",
    "0xA700": "refused: out of resources | asked again after a growing wait | as before",
    "0xA701": "refused: unable to calculate the number of matches | asked again after a growing wait | as before",
    "0xA702": "refused: unable to perform sub-operations | asked again after a growing wait; with failed "
    "sub-operations it may be for good | look at `Reason`: often the PACS does not reach `move_port`",
    "0xA801": "the move destination is unknown | the run stops, unless something has come | "
    "have your AE title declared with address and port",
    "0xA900": "the identifier does not match the SOP class | simpler requests, one series at a time | nothing; "
    "`--check --capabilities FILE` finds it out beforehand",
    "0xB000": "sub-operations complete, some failed or with warnings | what is missing is asked for once more | "
    "look at `Reason`",
    "0xC000": "unable to process (0xCxxx, and whatever is not named here) | simpler requests, then failed for good | "
    "ask the administrator what the log of the PACS says",
    "0xFE00": "cancelled, which nobody asked for; some PACS end long lists so | lists are asked for in parts | nothing",
}

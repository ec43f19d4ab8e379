"""What `--help` and README tell of the rules; made from the tables, so that they cannot say anything else."""

from __future__ import annotations

import re
from collections.abc import Iterable

from pacsifier.deidentify import claims
from pacsifier.deidentify.engine.dictionary import keyword, public_vr, tags_of_group
from pacsifier.deidentify.engine.profile import Action, Options, Profile, read_table

_PATIENT_GROUP = 0x0010
_AS_IT_IS = (Action.KEEP, Action.CHECK, Action.DESCEND, Action.AGE, Action.SHIFT)
_HIDDEN = frozenset(
    (0x00100020, 0x00100022, 0x00100028, 0x00100030)
)  # IDs, the birth date; no characteristics
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z][a-z]+")


def patient_characteristics(options: Options | None = None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What of the patient stays as it is, and what is cleaned word by word, in plain words."""
    profile = Profile(options or Options())
    named = (int(row.tag, 16) for row in read_table() if "characteristics" in dict(row.options))
    tags = {*tags_of_group(_PATIENT_GROUP), *(tag for tag in named if tag >> 16 < 0x0072)} - _HIDDEN
    actions = {tag: profile.action(tag, public_vr(tag)) for tag in sorted(tags)}
    stays = _spelled(tag for tag, action in actions.items() if action in _AS_IT_IS)
    stays = tuple(name.removeprefix("patient ") for name in stays)
    cleaned = _spelled(tag for tag, action in actions.items() if action is Action.CLEAN)
    return stays, tuple(name for name in cleaned if name not in stays)


def claimed() -> tuple[str, ...]:
    """The kinds of files that say PatientIdentityRemoved YES."""
    return tuple(dict.fromkeys(row.kind for row in claims.table() if row.mark == "YES"))


def doubted() -> tuple[str, ...]:
    """The kinds that say NO until a person has looked, whatever else their headers say."""
    rows = (row for row in claims.table() if row.mark == "NO" and row.asked_out != "always_out")
    return tuple(dict.fromkeys(row.kind for row in rows))


def cleaned_enough() -> tuple[str, ...]:
    """The kinds that say YES once their pixels were cleaned, without a person's look."""
    return tuple(dict.fromkeys(row.kind for row in claims.table() if row.cleaned == "YES"))


def asked_out() -> tuple[str, ...]:
    """The kinds that --delete_identifiable leaves out."""
    rows = (row for row in claims.table() if row.asked_out in ("out", "out_but_keep_sr"))
    return tuple(dict.fromkeys(row.kind for row in rows))


def _spelled(tags: Iterable[int]) -> tuple[str, ...]:
    """PatientSexNeutered as `patient sex neutered`, each once."""
    names: dict[str, None] = {}
    for tag in tags:
        name = keyword(tag).removesuffix("Sequence")
        name = name.removesuffix("Description").removesuffix("Nomenclature")
        words = _WORD.findall(name)
        names[" ".join(word if word.isupper() else word.lower() for word in words)] = None
    return tuple(names)

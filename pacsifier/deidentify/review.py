"""What a person should look through after a run: words of descriptions, and descriptions that became equal."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from pacsifier.deidentify.engine.descriptors import Remark
from pacsifier.deidentify.engine.rules import Told

COLUMNS = ("tag", "word", "patients", "why")


@dataclass
class Review:
    """Of what was said of each word, the patients concerned; of each cleaned text by tag, the texts that became it."""

    words: dict[tuple[int, Remark], set[str]] = field(default_factory=lambda: defaultdict(set))
    _texts: dict[tuple[int, str], dict[str, set[str]]] = field(default_factory=lambda: defaultdict(dict))

    def add(self, patient: str, told: Told) -> None:
        """Adds what a part of a patient's images told."""
        for said in told.remarks:
            self.words[said].add(patient)
        for tag, before, after in told.texts:
            self._texts[tag, after].setdefault(before, set()).add(patient)

    @property
    def left_out(self) -> int:
        """How many words were left out."""
        return len({(tag, remark.word) for tag, remark in self.words if not remark.stays})

    @property
    def kept(self) -> int:
        """How many words stayed that may be names."""
        return len({(tag, remark.word) for tag, remark in self.words if remark.stays})

    @property
    def became_equal(self) -> int:
        """How many cleaned texts stand for several."""
        return sum(1 for _ in self._equal())

    def rows(self) -> Iterator[tuple[str, str, int, str]]:
        """Tag, word or text, how many patients had it, and what is to be known of it."""
        for (tag, remark), holders in sorted(self.words.items()):
            what = "kept" if remark.stays else "left out"
            yield f"{tag:08X}", remark.word, len(holders), f"{what} because {remark.why}"
        for (tag, after), befores in sorted(self._equal()):
            for before, holders in sorted(befores.items()):
                yield (
                    f"{tag:08X}",
                    before,
                    len(holders),
                    f"became equal to another one: {after or 'nothing is left'}",
                )

    def _equal(self) -> Iterator[tuple[tuple[int, str], dict[str, set[str]]]]:
        for key, befores in self._texts.items():
            if len({before.strip() for before in befores}) > 1:
                yield key, befores

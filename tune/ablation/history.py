"""Keeps what an ablation was at each of its starts, in `ablation.json` of its folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from t5vqvae.errors import DamagedFileError, SettingError
from t5vqvae.files import read_twice, write_twice
from t5vqvae.redaction import redacted_values
from t5vqvae.spec.run import RunSpec
from tune.ablation.ablation_spec import AblationSpec
from tune.ablation.findings import Findings
from tune.ablation.run_numbers import RunNumbers
from tune.records.record import read_records
from tune.records.study_paths import StudyPaths, is_there
from tune.spec.study_spec import WAY_OUT

UNSAID = {"tuning": "shared"}
"""The rules of a kept spec that does not say them: it is from a version that had no others."""

ASKED = ("base", "baseline", "arms", "design", "nuisance", "objective")
"""The fields that say which runs an ablation has, and by what they are judged."""


@dataclass(frozen=True)
class AblationHistory:
    """The history of an ablation's spec, in `ablation.json` of its folder.

    Attributes:
        base: The baseline's run spec at the first start; a champion may have changed afterwards.
        specs: The study at its first start, and at every later start that changed it.
    """

    base: RunSpec
    specs: tuple[AblationSpec, ...]

    @staticmethod
    def path(paths: StudyPaths) -> Path:
        return paths.ablation

    @classmethod
    def read(cls, paths: StudyPaths) -> AblationHistory | None:
        """Reads the history; returns None before the first start."""
        file = cls.path(paths)
        if not is_there(file):
            return None
        values = read_twice(file, WAY_OUT)
        try:
            specs = [AblationSpec.parse({**UNSAID, **spec}) for spec in values["specs"]]
            return cls(RunSpec.parse(values["base"]), tuple(specs))
        except (KeyError, TypeError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise DamagedFileError(f"{file} is no ablation of this version: {reason}; {WAY_OUT}") from None

    def write(self, paths: StudyPaths) -> None:
        """Writes the history, twice, each whole or not at all."""
        values = {"base": self.base.as_dict(), "specs": [spec.as_dict() for spec in self.specs]}
        write_twice(self.path(paths), redacted_values(values), indent=1)

    def asks(self, spec: AblationSpec) -> bool:
        """Returns whether the last start asked what `spec` asks; seeds, rules and machines may differ."""
        last, now = redacted_values(self.specs[-1].as_dict()), redacted_values(spec.as_dict())
        return all(last[field] == now[field] for field in ASKED)

    def notes(self) -> list[str]:
        """Returns the rules that were changed after the first start, which the p-values do not take into account."""
        first, last = self.specs[0].as_flat_dict(), self.specs[-1].as_flat_dict()
        paths = [path for path in {**first, **last} if first.get(path) != last.get(path)]
        deciding = [
            path for path in paths if path.split(".")[0] not in ("budget", "resources", "retention", "tracking")
        ]
        if not deciding:
            return []
        changes = ", ".join(f"{path} from {first.get(path)} to {last.get(path)}" for path in deciding)
        return [f"changed after the first start; p-values and intervals do not take it into account: {changes}"]


def refuse_new_question(spec: AblationSpec, base: RunSpec, paths: StudyPaths) -> None:
    """Refuses to ask what `AblationSpec.refuse_new` refuses, unless an earlier start of the ablation asked it.

    Raises:
        SettingError: With the setting and the way out.
    """
    before = AblationHistory.read(paths)
    if before is None or not before.asks(spec):
        spec.refuse_new(base)


def read_findings(paths: StudyPaths) -> tuple[Findings, list[str]]:
    """Returns the findings of an ablation from its folder, and remarks on changes of its spec.

    Raises:
        SettingError: If none of its runs has ended.
    """
    begun, records = AblationHistory.read(paths), {record.number: record for record in read_records(paths.trials)}
    if begun is None or not records:
        waits = paths.is_locked()
        way_out = "it is running: wait for its first run" if waits else "the same command starts or resumes it"
        raise SettingError(f"no run of ablation {paths.study} has ended yet; {way_out}")
    numbering = RunNumbers(paths.root)
    found = Findings(begun.specs[-1], begun.base, numbering.latest, records, settings_ids=numbering.settings_ids)
    return found, begun.notes()

"""Conditions of the subjects of a synthetic cohort. Needs no torch."""

from pathlib import Path

import numpy as np

from braindiffusion.conditions import CategoryField, ConditionSchema, ScalarField
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.files import write_whole
from braindiffusion.runs import SynthesizeRequest
from braindiffusion.runs.requests.synthesis import age_range

STREAM = 40487
"""Keeps these draws apart from those of anatomy and noise, which share the seed."""
AGE, SEX, SEXES = "age", "sex", ("F", "M")


class SubjectConditions:
    """Age and sex of each subject: functions of the seed and the number of the subject alone.

    Args:
        request: the cohort.
        schema: conditions of the model.

    Attributes:
        ages: the range that ages are drawn from; None where the model gets none.
        sexes: the sexes that subjects have; empty where the model gets none.

    Raises:
        BrainDiffusionError: the model does not know such a condition, or has seen no such ages.
    """

    def __init__(self, request: SynthesizeRequest, schema: ConditionSchema) -> None:
        self._seed = request.seed
        given = [name for name in (AGE, SEX) if name in request.condition]
        if given:
            msg = f"The {given[0]} of the subjects is an option of its own: leave it out of the conditions."
            raise BrainDiffusionError(msg, "condition")
        fields = {field.name: field for field in schema.fields}
        self.ages = age_range(request.age) if request.age is not None else None
        if self.ages is None and isinstance(known := fields.get(AGE), ScalarField):
            self.ages = known.seen.quantiles[0], known.seen.quantiles[-1]
        self.sexes: tuple[str, ...] = ()
        if request.sex is not None or isinstance(fields.get(SEX), CategoryField):
            self.sexes = SEXES if request.sex in (None, "balanced") else (str(request.sex),)
        for age in self.ages or ():
            _check(schema, AGE, age)
        for sex in self.sexes:
            _check(schema, SEX, sex)

    def of(self, number: int) -> dict[str, float | str]:
        """Return the conditions of a subject, from 1: age in tenths of a year, sex."""
        drawn: dict[str, float | str] = {}
        if self.ages is not None:
            low, high = self.ages
            age = np.random.default_rng((self._seed, number, STREAM)).uniform(low, high)
            drawn[AGE] = float(np.clip(np.round(age, 1), low, high))
        if self.sexes:
            # Of two subjects in a row one is a woman: any even number of them is balanced.
            pair, place = divmod(number - 1, len(self.sexes))
            order = np.random.default_rng((self._seed, pair, STREAM + 1)).permutation(len(self.sexes))
            drawn[SEX] = self.sexes[order[place]]
        return drawn

    def write_table(self, path: Path, num: int) -> Path | None:
        """Write a table of conditions with a row for each subject; None where subjects have none.

        Raises:
            OSError: it cannot be written.
        """
        if self.ages is None and not self.sexes:
            return None
        rows = [self.of(number) for number in range(1, num + 1)]
        lines = ["\t".join(rows[0]), *("\t".join(map(str, row.values())) for row in rows)]
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, "\n".join(lines) + "\n")
        return path


def _check(schema: ConditionSchema, name: str, value: float | str) -> None:
    try:
        schema.check({name: value})
    except BrainDiffusionError as error:
        raise BrainDiffusionError(str(error), name) from error

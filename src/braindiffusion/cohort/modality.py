"""Which modalities a cohort holds, in one word that request, store and model card share.

`T1` is one channel; `T1,T2,PD` are three channels of one volume a subject; `T1/T2` are volumes of their own, each of
which says what it is.
"""

from dataclasses import dataclass

from braindiffusion.errors import BrainDiffusionError

BIDS_SUFFIXES = {"T1w": "T1", "T2w": "T2", "PDw": "PD"}


@dataclass(frozen=True)
class Modalities:
    """What is asked for.

    Attributes:
        names: `T1`, `T2`, `PD`, ... in the order that was asked for.
        separate: each is a volume of its own; otherwise they are the channels of one.
    """

    names: tuple[str, ...]
    separate: bool = False

    @classmethod
    def parse(cls, text: str) -> "Modalities":
        """Read the word.

        Raises:
            BrainDiffusionError: a name is empty or there twice, or commas and slashes are mixed.
        """
        separate = "/" in text
        names = tuple(name.strip() for name in text.split("/" if separate else ","))
        names = tuple(BIDS_SUFFIXES.get(name, name) for name in names)
        if not all(names) or len(set(names)) < len(names) or any("," in name for name in names):
            raise BrainDiffusionError(
                f"'{text}' names no modalities: say T1, or T1,T2,PD for the channels of one volume, or T1/T2/PD for "
                "volumes of their own."
            )
        return cls(names, separate)

    def __str__(self) -> str:
        return ("/" if self.separate else ",").join(self.names)

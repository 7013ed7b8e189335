"""How often estimates have been right lately."""

from dataclasses import dataclass

TRUST_PRIOR = 20.0
"""Right estimates that count as given at the start."""

TRUSTED = 0.9
"""Share of right estimates above which estimates are trusted."""

TRUST_MEMORY = 200.0
"""Estimates after which the counts are halved, so that later ones count more."""


@dataclass(slots=True)
class HitRate:
    """The share of right estimates that a task had finished, over about the last TRUST_MEMORY."""

    tries: float = TRUST_PRIOR
    hits: float = TRUST_PRIOR

    def learn(self, *, is_hit: bool) -> None:
        """Count one estimate."""
        if self.tries >= TRUST_MEMORY:
            self.tries, self.hits = self.tries / 2, self.hits / 2
        self.tries += 1
        self.hits += is_hit

    @property
    def is_given(self) -> bool:
        """Whether at least the share TRUSTED of the estimates was right, so that they can be trusted."""
        return self.hits / self.tries >= TRUSTED

"""Figures in Prometheus' text format, asked by name and labels. Pure."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from prometheus_client.parser import text_string_to_metric_families

Sample = tuple[Mapping[str, str], float]


@dataclass(frozen=True, slots=True)
class Figures:
    """One reading of all metrics, by the name that each has in the text."""

    samples: Mapping[str, Sequence[Sample]] = field(default_factory=dict)

    def total(self, name: str, **labels: str) -> float:
        """The sum over everything that has these labels; 0 where there is nothing."""
        return sum(self._with(name, labels))

    def highest(self, name: str) -> float | None:
        """Of several workers the one with the most; None where nobody told."""
        return max(self._with(name, {}), default=None)

    def lowest(self, name: str) -> float | None:
        """Of several workers the one with the least; None where nobody told."""
        return min(self._with(name, {}), default=None)

    def by(self, name: str, label: str) -> dict[str, float]:
        """The sums by what the label says, without those that are 0."""
        sums: defaultdict[str, float] = defaultdict(float)
        for labels, value in self.samples.get(name, ()):
            sums[labels.get(label, "")] += value
        return {key: value for key, value in sums.items() if value}

    def within(self, name: str, share: float, **labels: str) -> float | None:
        """An upper bound of what this share of a histogram's values stayed within: a bucket's end.

        None where there are no values. Infinite where they are above the last bucket.
        """
        buckets: defaultdict[float, float] = defaultdict(float)
        for found, value in self.samples.get(f"{name}_bucket", ()):
            if all(found.get(label) == wanted for label, wanted in labels.items()):
                buckets[float(found["le"])] += value
        everything = max(buckets.values(), default=0.0)
        if not everything:
            return None
        return next(end for end in sorted(buckets) if buckets[end] >= share * everything)

    def _with(self, name: str, labels: Mapping[str, str]) -> list[float]:
        return [
            value
            for found, value in self.samples.get(name, ())
            if all(found.get(label) == wanted for label, wanted in labels.items())
        ]


def read_figures(text: str) -> Figures:
    """Raises ValueError for what is not in Prometheus' format."""
    samples: defaultdict[str, list[Sample]] = defaultdict(list)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            samples[sample.name].append((sample.labels, sample.value))
    return Figures(dict(samples))

"""The points of a space: when two of them are the same, how many there are, and which."""

import json
import math
from collections.abc import Container, Mapping
from functools import cached_property
from typing import Any

from pydantic import ValidationError

from search.space.space import SECTIONS, SHAPE, Domain, Range, Space, Value, exists, flat, nested, values_of


def point_identity(values: Mapping[str, Value]) -> str:
    """What two points share when they train the same thing.

    Args:
        values: Of a point, by flat key.
    """
    return config_identity(nested(values))


def config_identity(config: Mapping[str, Any]) -> str:
    """The same of a trial's config: all that differs between the trials of a search and reaches the training.

    Defaults are filled in, and parameters that mean nothing there are left out, whichever version recorded the config.

    Args:
        config: With the sections of a space; others, which all trials of a search share, do not count.
    """
    try:
        sections = {name: kind.model_validate(config.get(name, {})) for name, kind in SECTIONS.items()}
    except ValidationError:
        # Recorded with what no longer exists: the same as no point of today's.
        return json.dumps({name: config.get(name) for name in SECTIONS}, sort_keys=True)
    values = flat({name: section.model_dump(mode="json") for name, section in sections.items()})
    return json.dumps({key: value for key, value in values.items() if exists(key, values)}, sort_keys=True)


class SpacePoints:
    """The points of a space.

    Args:
        space: What is searched.
    """

    def __init__(self, space: Space) -> None:
        self._space = space

    @cached_property
    def count(self) -> float:
        """How many there are; infinity where a number is searched in a range that is not of whole numbers."""
        counts: dict[tuple[tuple[str, Value], ...], float] = {(): 1}
        for key, domain in self._space.domains.items():
            grown: dict[tuple[tuple[str, Value], ...], float] = {}
            for shape, count in counts.items():
                if not self._space.has(key, dict(shape)):
                    grown[shape] = count
                elif key in SHAPE or any(key in entry for entry in self._space.excluded):
                    grown |= {(*shape, (key, value)): count for value in values_of(domain)}
                else:
                    grown[shape] = count * _number_of_values(domain)
            counts = grown
        return sum(count for shape, count in counts.items() if not self._space.excludes(dict(shape)))

    def left(self, tried: Container[str]) -> list[dict[str, Value]]:
        """The points that are not among the tried ones; only for a space whose points can be listed.

        Args:
            tried: Identities.
        """
        return [point for identity, point in self._by_identity.items() if identity not in tried]

    @cached_property
    def _by_identity(self) -> dict[str, dict[str, Value]]:
        points: list[dict[str, Value]] = [{}]
        for key, domain in self._space.domains.items():
            points = [further for point in points for further in self._extended(point, key, domain)]
        return {point_identity(point): point for point in points if not self._space.excludes(point)}

    def _extended(self, point: dict[str, Value], key: str, domain: Domain) -> list[dict[str, Value]]:
        if not self._space.has(key, point):
            return [point]
        values = domain.every_value if isinstance(domain, Range) else values_of(domain)
        return [point | {key: value} for value in values]


def _number_of_values(domain: Domain) -> float:
    if isinstance(domain, Range):
        return int(domain.high) - int(domain.low) + 1 if domain.integer else math.inf
    return len(values_of(domain))

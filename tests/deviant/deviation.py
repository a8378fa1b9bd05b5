"""What a known deviation is."""

from typing import Any, Dict, NamedTuple, Tuple

Settings = Dict[str, Any]


class Deviation(NamedTuple):
    """One thing that a port may do differently."""

    id: str
    words: str  # formatted with the settings
    strengths: Tuple[Settings, ...]  # each some fields of `rules.Rules`
    fitted: str = ""  # the rule of which other values are searched


def each(rule: str, *values: Any, **others: Any) -> Tuple[Settings, ...]:
    """Strengths that differ in one rule."""
    return tuple({rule: value, **others} for value in values)

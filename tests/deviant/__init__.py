"""Ports with known deviations, made by rule: the reference, with one of its lines changed."""

from deviant.known import KNOWN, causes
from deviant.port import Deviant

__all__ = ["KNOWN", "Deviant", "causes"]

"""Exceptions that drrval raises on bad input. Each message says what came in, which rule it broke, how to mend it."""


class DrrvalError(Exception):
    """Base of every error that drrval raises on purpose."""


class IntakeError(DrrvalError):
    """A CT cannot be used: unreadable, not a CT, or damaged beyond an honest repair."""


class GeometryError(DrrvalError):
    """A view, preset or pose that cannot be rendered."""


class StudyError(DrrvalError):
    """A study file, cohort table or command argument that breaks a rule."""


class ScorerError(DrrvalError):
    """A scorer was not found, refused its input, or returned something outside its contract."""


class BackendError(DrrvalError):
    """A requested rendering backend is unknown or not installed."""

"""What the API server may answer, as far as the operator acts on it."""

from __future__ import annotations

_UNKNOWN_FIELD = "field not declared in schema"
"""Server-side apply answers 500 to a field that its type does not have."""


class ApiError(Exception):
    """A request failed."""

    def __init__(self, status: int, message: str, *, retry_after_seconds: float | None = None) -> None:
        """Keep the facts.

        Args:
            status: HTTP status; 0 if no answer came.
            message: the API server's words.
            retry_after_seconds: how long it asked to be left alone.
        """
        super().__init__(f"{status}: {message}")
        self.status = status
        self.message = message
        self.retry_after_seconds = retry_after_seconds

    @property
    def is_not_found(self) -> bool:
        """There is no such object, or no longer."""
        return self.status == 404

    @property
    def is_conflict(self) -> bool:
        """The object is there already, or is another one than was meant."""
        return self.status == 409

    @property
    def is_refusal(self) -> bool:
        """The API server understood the object and does not want it: by validation, quota, admission or rights."""
        return self.status == 403 or self.is_invalid

    @property
    def is_invalid(self) -> bool:
        """The object breaks a rule of its own type: the same object would be refused for ever."""
        return self.status in (400, 422) or (self.status == 500 and _UNKNOWN_FIELD in self.message)

"""What the API server may answer, as far as the operator acts on it."""

from __future__ import annotations

_UNKNOWN_FIELD = "field not declared in schema"
"""Server-side apply answers 500 to a field that its type does not have."""


class NotLeaderError(Exception):
    """This process may not write: another one leads, or will."""


class ApiError(Exception):
    """A request failed."""

    def __init__(
        self, status: int, message: str, *, reason: str = "", retry_after_seconds: float | None = None
    ) -> None:
        """Keep the facts.

        Args:
            status: HTTP status; 0 if no answer came.
            message: the API server's words.
            reason: its word for the kind of error, as AlreadyExists.
            retry_after_seconds: how long it asked to be left alone.
        """
        super().__init__(f"{status}: {message}")
        self.status = status
        self.message = message
        self.reason = reason
        self.retry_after_seconds = retry_after_seconds
        self.has_progressed = False
        """Whether something was written before it, in the look that it ended: the next look has less to do."""

    @property
    def is_not_found(self) -> bool:
        """There is no such object, or no longer."""
        return self.status == 404

    @property
    def is_conflict(self) -> bool:
        """The object is there already, or is another one than was meant."""
        return self.status == 409

    @property
    def is_there_already(self) -> bool:
        """An object of this name exists."""
        return self.status == 409 and self.reason == "AlreadyExists"

    @property
    def is_expired(self) -> bool:
        """The version that was asked for is too old to be watched from, or a page too late to be had."""
        return self.status == 410

    @property
    def is_refusal(self) -> bool:
        """The API server understood the object and does not want it: by validation, quota, admission or rights."""
        return self.status == 403 or self.is_invalid

    @property
    def is_invalid(self) -> bool:
        """The object breaks a rule of its own type: the same object would be refused for ever."""
        return self.status in (400, 422) or (self.status == 500 and _UNKNOWN_FIELD in self.message)

"""Build Discord's API errors: JSON error codes with their HTTP status, and errors by field."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

# Code -> (HTTP status, text). Discord documents these under "Opcodes and Status Codes".
ERROR_CODES: dict[int, tuple[int, str]] = {
    0: (401, "401: Unauthorized"),
    10003: (404, "Unknown Channel"),
    10004: (404, "Unknown Guild"),
    10007: (404, "Unknown Member"),
    10008: (404, "Unknown Message"),
    10013: (404, "Unknown User"),
    10015: (404, "Unknown Webhook"),
    10062: (404, "Unknown interaction"),
    10063: (404, "Unknown application command"),
    20022: (429, "The write action you are performing on the channel has hit the write rate limit"),
    30015: (400, "Maximum number of attachments in a message reached (10)"),
    30034: (400, "Maximum number of daily application command creates has been reached (200)"),
    40005: (413, "Request entity too large"),
    40060: (400, "Interaction has already been acknowledged."),
    40058: (400, "Cannot message this channel until a post has been made"),
    40333: (403, "internal network error"),
    50001: (403, "Missing Access"),
    50005: (403, "Cannot edit a message authored by another user"),
    50006: (400, "Cannot send an empty message"),
    50007: (403, "Cannot send messages to this user"),
    50013: (403, "Missing Permissions"),
    50024: (403, "Cannot execute action on this channel type"),
    50027: (401, "Invalid Webhook Token"),
    50035: (400, "Invalid Form Body"),
    50083: (400, "Thread is archived"),
    50109: (400, "The request body contains invalid JSON."),
    160004: (400, "A thread has already been created for this message"),
}


MAX_ID_DIGITS = 20


class ApiError(Exception):
    """An error response of the REST API: HTTP status, JSON code, message, and errors by field."""

    def __init__(self, status: int, code: int, message: str, *, errors: Json | None = None) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status = status
        self.code = code
        self.message = message
        self.errors = errors

    def payload(self) -> Json:
        """Return the JSON body (OpenAPI schema ``ErrorResponse``)."""
        body: Json = {"message": self.message, "code": self.code}
        if self.errors is not None:
            body["errors"] = self.errors
        return body


def api_error(code: int) -> ApiError:
    """Return the error with one of Discord's documented codes. Raises KeyError for others."""
    status, message = ERROR_CODES[code]
    return ApiError(status, code, message)


class ErrorCollector:
    """Collect validation errors for one path of a request body.

    ``form.at("embeds", 0, "title").add_error(...)`` becomes ``errors.embeds.0.title._errors`` in
    the response. All paths of one body share one list of errors.
    """

    def __init__(self, path: tuple[str, ...] = (), entries: list[Any] | None = None) -> None:
        self._path = path
        self._entries: list[tuple[tuple[str, ...], Json]] = [] if entries is None else entries

    def at(self, *keys: str | int) -> ErrorCollector:
        """Return the collector for a path below this one."""
        return ErrorCollector((*self._path, *(str(key) for key in keys)), self._entries)

    def add_error(self, code: str, message: str) -> None:
        """Add one error at this path."""
        self._entries.append((self._path, {"code": code, "message": message}))

    def check_string(self, value: object, *, max_chars: int, min_chars: int = 0) -> bool:
        """Return whether ``value`` is a string of allowed length; add an error if not."""
        if not isinstance(value, str):
            self.add_error("STRING_TYPE_CONVERT", "Could not interpret value as string.")
        elif not value and min_chars:
            self.add_error("BASE_TYPE_REQUIRED", "This field is required")
        elif len(value) > max_chars or len(value) < min_chars:
            word = "or fewer" if len(value) > max_chars else "or more"
            bound = max_chars if len(value) > max_chars else min_chars
            self.add_error("BASE_TYPE_BAD_LENGTH", f"Must be {bound} {word} in length.")
        else:
            return True
        return False

    def check_integer(self, value: object, *, minimum: int, maximum: int) -> bool:
        """Return whether ``value`` is an integer in the range; add an error if not."""
        if isinstance(value, bool) or not isinstance(value, int):
            self.add_error("NUMBER_TYPE_COERCE", f'Value "{value}" is not int.')
        elif not minimum <= value <= maximum:
            self.add_error(
                "NUMBER_TYPE_MAX", f"int value should be between {minimum} and {maximum}."
            )
        else:
            return True
        return False

    def check_list(self, value: object, *, max_items: int, min_items: int = 0) -> list[Any]:
        """Return ``value`` if it is a list; add an error if it is not, or has a wrong length."""
        if not isinstance(value, list):
            self.add_error("LIST_TYPE_CONVERT", "Only iterables may be used in a ListType")
            return []
        if not min_items <= len(value) <= max_items:
            self.add_error(
                "BASE_TYPE_BAD_LENGTH", f"Must be between {min_items} and {max_items} in length."
            )
        return value

    def check_object(self, value: object) -> Json:
        """Return ``value`` if it is an object; else add an error and return an empty one."""
        if isinstance(value, dict):
            return value
        self.add_error("DICT_TYPE_CONVERT", "Only dictionaries may be used in a DictType")
        return {}

    @property
    def is_valid(self) -> bool:
        """Return whether no path of this body has an error."""
        return not self._entries

    def raise_errors(self) -> None:
        """Raise ApiError 50035 if there are errors."""
        if not self.is_valid:
            raise self.error()

    def error(self) -> ApiError:
        """Return error 50035 with all errors nested by field."""
        errors: Json = {}
        wrong = {path for path, _ in self._entries}
        for path, entry in self._entries:
            # A field has errors of its own or errors further inside, never both.
            if any(path[:depth] in wrong for depth in range(len(path))):
                continue
            place = errors
            for key in path:
                place = place.setdefault(key, {})
            place.setdefault("_errors", []).append(entry)
        status, message = ERROR_CODES[50035]
        return ApiError(status, 50035, message, errors=errors)


def parse_snowflake(value: object) -> int | None:
    """Return an id given as a string or number, or None if it is not an unsigned 64-bit integer."""
    if (
        isinstance(value, str)
        and value.isascii()
        and value.isdigit()
        and len(value) <= MAX_ID_DIGITS
    ):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 <= value < 1 << 64 else None

"""How Discord says no: JSON error codes with their HTTP status, and form errors by field.

It knows the shape of a refusal, not the rules that lead to one.
"""

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


ID_DIGITS = 20


class ApiError(Exception):
    """A refusal as the REST API words it: HTTP status, JSON code, text, and errors by field."""

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
    """Return the refusal with one of Discord's documented codes."""
    status, message = ERROR_CODES[code]
    return ApiError(status, code, message)


class ErrorCollector:
    """A place in a request body where complaints are noted down.

    ``form.at("embeds", 0, "title").complain(...)`` ends up in the answer as
    ``errors.embeds.0.title._errors``. All places of one body share one list of complaints.
    """

    def __init__(self, path: tuple[str, ...] = (), complaints: list[Any] | None = None) -> None:
        self._path = path
        self._complaints: list[tuple[tuple[str, ...], Json]] = (
            [] if complaints is None else complaints
        )

    def at(self, *keys: str | int) -> ErrorCollector:
        """Return the place further inside."""
        return ErrorCollector((*self._path, *(str(key) for key in keys)), self._complaints)

    def add_error(self, code: str, message: str) -> None:
        """Note one error of this place."""
        self._complaints.append((self._path, {"code": code, "message": message}))

    def text(self, value: object, *, most: int, least: int = 0) -> bool:
        """Complain unless ``value`` is a string of ``least`` to ``most`` characters."""
        if not isinstance(value, str):
            self.add_error("STRING_TYPE_CONVERT", "Could not interpret value as string.")
        elif not value and least:
            self.add_error("BASE_TYPE_REQUIRED", "This field is required")
        elif len(value) > most or len(value) < least:
            word = "or fewer" if len(value) > most else "or more"
            bound = most if len(value) > most else least
            self.add_error("BASE_TYPE_BAD_LENGTH", f"Must be {bound} {word} in length.")
        else:
            return True
        return False

    def whole(self, value: object, *, least: int, most: int) -> bool:
        """Complain unless ``value`` is a whole number of ``least`` to ``most``."""
        if isinstance(value, bool) or not isinstance(value, int):
            self.add_error("NUMBER_TYPE_COERCE", f'Value "{value}" is not int.')
        elif not least <= value <= most:
            self.add_error("NUMBER_TYPE_MAX", f"int value should be between {least} and {most}.")
        else:
            return True
        return False

    def listing(self, value: object, *, most: int, least: int = 0) -> list[Any]:
        """Complain unless ``value`` is a list of ``least`` to ``most`` items; return its items."""
        if not isinstance(value, list):
            self.add_error("LIST_TYPE_CONVERT", "Only iterables may be used in a ListType")
            return []
        if not least <= len(value) <= most:
            self.add_error("BASE_TYPE_BAD_LENGTH", f"Must be between {least} and {most} in length.")
        return value

    def record(self, value: object) -> Json:
        """Complain unless ``value`` is an object; return it, or an empty one."""
        if isinstance(value, dict):
            return value
        self.add_error("DICT_TYPE_CONVERT", "Only dictionaries may be used in a DictType")
        return {}

    @property
    def clean(self) -> bool:
        """Whether nobody has complained about any place of this body."""
        return not self._complaints

    def settle(self) -> None:
        """Raise the refusal, if there is a complaint."""
        if not self.clean:
            raise self.error()

    def error(self) -> ApiError:
        """Return 50035 with every complaint nested by field."""
        errors: Json = {}
        wrong = {path for path, _ in self._complaints}
        for path, complaint in self._complaints:
            # A place has errors of its own or wrong places inside it, never both.
            if any(path[:depth] in wrong for depth in range(len(path))):
                continue
            place = errors
            for key in path:
                place = place.setdefault(key, {})
            place.setdefault("_errors", []).append(complaint)
        status, message = ERROR_CODES[50035]
        return ApiError(status, 50035, message, errors=errors)


def read_snowflake(value: object) -> int | None:
    """Return an id sent as a string or a number, or None if it is neither or no 64 bits."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= ID_DIGITS:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 <= value < 1 << 64 else None

from collections.abc import Iterable as _Iterable
from typing import ClassVar as _ClassVar

from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from google.protobuf.internal import containers as _containers

DESCRIPTOR: _descriptor.FileDescriptor

class ReadRequest(_message.Message):
    __slots__ = ("address", "log_name", "signed_hash", "timestamp")
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    LOG_NAME_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    SIGNED_HASH_FIELD_NUMBER: _ClassVar[int]
    address: str
    log_name: str
    timestamp: int
    signed_hash: bytes
    def __init__(
        self,
        address: str | None = ...,
        log_name: str | None = ...,
        timestamp: int | None = ...,
        signed_hash: bytes | None = ...,
    ) -> None: ...

class ReadResponse(_message.Message):
    __slots__ = ("data", "timestamp")
    DATA_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    timestamp: int
    def __init__(self, data: bytes | None = ..., timestamp: int | None = ...) -> None: ...

class WatchListRequest(_message.Message):
    __slots__ = ("address", "signed_hash", "timestamp")
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    SIGNED_HASH_FIELD_NUMBER: _ClassVar[int]
    address: str
    timestamp: int
    signed_hash: bytes
    def __init__(
        self,
        address: str | None = ...,
        timestamp: int | None = ...,
        signed_hash: bytes | None = ...,
    ) -> None: ...

class WatchListResponse(_message.Message):
    __slots__ = ("log_names",)
    LOG_NAMES_FIELD_NUMBER: _ClassVar[int]
    log_names: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, log_names: _Iterable[str] | None = ...) -> None: ...

class WriteRequest(_message.Message):
    __slots__ = ("data", "log_name", "timestamp", "user")
    LOG_NAME_FIELD_NUMBER: _ClassVar[int]
    USER_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    log_name: str
    user: str
    data: bytes
    timestamp: int
    def __init__(
        self,
        log_name: str | None = ...,
        user: str | None = ...,
        data: bytes | None = ...,
        timestamp: int | None = ...,
    ) -> None: ...

class WriteResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

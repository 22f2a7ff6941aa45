"""The logger's messages, built from the field table alone: there is no .proto file on this side.

Independent on purpose of the definitions that the backend uses, so that a wrong field number there
is a failing test and not an agreement.
"""

from __future__ import annotations

from typing import Any

from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

PACKAGE = "logger.v1alpha1"
SERVICE = f"{PACKAGE}.LoggerAPI"

_TEXT = FieldDescriptorProto.TYPE_STRING
_BYTES = FieldDescriptorProto.TYPE_BYTES
_SIGNED = FieldDescriptorProto.TYPE_INT64
_UNSIGNED = FieldDescriptorProto.TYPE_UINT64
_MESSAGES: dict[str, tuple[tuple[str, int], ...]] = {
    "ReadRequest": (
        ("address", _TEXT),
        ("log_name", _TEXT),
        ("timestamp", _UNSIGNED),
        ("signed_hash", _BYTES),
    ),
    "ReadResponse": (("data", _BYTES), ("timestamp", _SIGNED)),
    "WatchListRequest": (("address", _TEXT), ("timestamp", _UNSIGNED), ("signed_hash", _BYTES)),
    "WatchListResponse": (("log_names", _TEXT),),
    "WriteRequest": (
        ("log_name", _TEXT),
        ("user", _TEXT),
        ("data", _BYTES),
        ("timestamp", _SIGNED),
    ),
    "WriteResponse": (),
}


def _pool() -> DescriptorPool:
    file = FileDescriptorProto(name=f"{PACKAGE}/test.proto", package=PACKAGE, syntax="proto3")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for number, (field, kind) in enumerate(fields, 1):
            label = FieldDescriptorProto.LABEL_OPTIONAL
            if field == "log_names":
                label = FieldDescriptorProto.LABEL_REPEATED
            message.field.add(name=field, number=number, type=kind, label=label)
    pool = DescriptorPool()
    pool.Add(file)
    return pool


_POOL = _pool()


def _message(name: str) -> Any:
    return GetMessageClass(_POOL.FindMessageTypeByName(f"{PACKAGE}.{name}"))


ReadRequest = _message("ReadRequest")
ReadResponse = _message("ReadResponse")
WatchListRequest = _message("WatchListRequest")
WatchListResponse = _message("WatchListResponse")
WriteRequest = _message("WriteRequest")
WriteResponse = _message("WriteResponse")

"""A job document that uses most of the format, and a way to put something else into it."""

from __future__ import annotations

import copy

SMALL: dict[str, object] = {
    "resources": {"tasks": 2, "cpusPerTask": 8, "memPerCpu": 8000, "gpus": 2},
    "env": [{"key": "PROMPT", "value": "a cat"}],
    "enableLogging": True,
    "input": {"http": {"url": "https://transfer.example.org/get/a/b"}},
    "inputMode": 493,
    "steps": [
        {
            "name": "rows",
            "for": {
                "parallel": True,
                "range": {"begin": 1, "end": 2},
                "steps": [
                    {
                        "run": {
                            "command": "paint",
                            "shell": "/bin/bash",
                            "resources": {"gpusPerTask": 1},
                            "container": {
                                "image": "library/stable-diffusion:latest",
                                "registry": "registry-1.deepsquare.run",
                                "deepsquareHosted": True,
                                "readOnlyRootFS": True,
                                "mounts": [
                                    {"hostDir": "/opt", "containerDir": "/models", "options": "ro"}
                                ],
                            },
                            "network": "pasta",
                            "dns": ["9.9.9.9", "2620:fe::fe"],
                            "env": [{"key": "DEVICE", "value": ""}],
                            "workDir": "/tmp",
                            "mpi": "none",
                        },
                        "catch": [{"run": {"command": "true"}}],
                    }
                ],
            },
        },
        {"launch": {"handleName": "bg", "steps": [{"run": {"command": "sleep 1"}}]}},
        {"dependsOn": ["bg"], "if": "-f x", "steps": [{"run": {"command": ""}}]},
        {
            "use": {
                "source": "github.com/owner/modules/path@v1",
                "args": [{"key": "who", "value": "me"}],
                "exportEnvAs": "OUT",
            },
            "finally": [{"run": {"command": "true"}}],
        },
        {"for": {"parallel": False, "items": ["a", ""], "steps": []}},
    ],
    "output": {
        "s3": {
            "region": "eu",
            "bucketUrl": "s3://bucket",
            "path": "/out",
            "accessKeyId": "id",
            "secretAccessKey": "hush",
            "endpointUrl": "https://s3.example.org",
        }
    },
    "virtualNetworks": [{"name": "n", "wireguard": {"peers": [1, None, 0.5, True]}}],
}

Path = tuple[str | int, ...]

RUN: Path = ("steps", 0, "for", "steps", 0, "run")
"""Where the one command in the loop stands."""


def small(*changes: tuple[Path, object]) -> dict[str, object]:
    """SMALL with other values at some paths."""
    document = copy.deepcopy(SMALL)
    for path, value in changes:
        part: object = document
        for key in path[:-1]:
            part = part[key]  # type: ignore[index]
        part[path[-1]] = value  # type: ignore[index]
    return document

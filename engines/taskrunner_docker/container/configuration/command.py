"""What a container runs: image, command, working folder and environment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from taskrunner_docker.container.configuration.pieces import Piece


def command_piece(
    image_id: str,
    command: Sequence[str],
    *,
    entrypoint: Sequence[str] | None,
    working_dir: str,
    env: Mapping[str, str],
    labels: Mapping[str, str],
) -> Piece:
    """Without a command, the image's own. An init process reaps what the command leaves behind."""
    return Piece(
        config={
            "Image": image_id,
            "Entrypoint": list(entrypoint) if entrypoint else None,
            "Cmd": list(command) or None,
            "WorkingDir": working_dir,
            "Env": [f"{name}={value}" for name, value in env.items()],
            "Labels": dict(labels),
        },
        host_config={"Init": True},
    )

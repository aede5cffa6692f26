"""The body of `containers/create` is merged from pieces."""

from __future__ import annotations

import pytest

from taskrunner.errors import Bug
from taskrunner_docker.container.configuration.pieces import Piece, merged


def test_two_pieces_share_lists_and_tables() -> None:
    body = merged(
        [
            Piece(config={"Image": "a", "Labels": {"x": "1"}}, host_config={"Mounts": [1], "Memory": 5}),
            Piece(config={"Labels": {"y": "2"}}, host_config={"Mounts": [2]}),
        ]
    )
    assert body == {"Image": "a", "Labels": {"x": "1", "y": "2"}, "HostConfig": {"Mounts": [1, 2], "Memory": 5}}


def test_a_piece_is_not_changed_by_merging() -> None:
    piece = Piece(host_config={"Mounts": [1]})
    merged([piece, Piece(host_config={"Mounts": [2]})])
    assert piece.host_config == {"Mounts": [1]}


@pytest.mark.parametrize("value", ["text", 5, {"same": 1}])
def test_two_pieces_cannot_set_the_same_value(value: object) -> None:
    with pytest.raises(Bug, match="Key"):
        merged([Piece(config={"Key": value}), Piece(config={"Key": value})])

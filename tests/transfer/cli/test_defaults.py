"""What the command line repeats of the library, so that its help loads nothing, is the same."""

import argparse
from typing import get_args

import pytest

from transfer import requests
from transfer.cli import batch, photographs, transfer
from transfer.jobs.shards import WRITERS
from transfer.photos.align import Limits


def parsed(verb: object, *words: str) -> argparse.Namespace:
    """The options of a verb's module."""
    parser = argparse.ArgumentParser()
    verb.add_options(parser)  # type: ignore[attr-defined]
    return parser.parse_args(words)


def test_the_formats_are_the_librarys() -> None:
    assert get_args(requests.Format) == batch.FORMATS
    assert {*batch.FORMATS} == {"png", "webp", *WRITERS}


def test_the_limits_of_photographs_are_the_librarys() -> None:
    limits, parser = Limits(), argparse.ArgumentParser()
    photographs.add_photograph_options(parser)
    assert photographs.photographs_of(parser.parse_args([])).limits == limits


def test_a_batchs_defaults_are_the_requests() -> None:
    args = parsed(batch, "job.csv", "-o", "out")
    request = requests.BatchRequest("job.csv", "out")
    for name in ("model", "precision", "format", "batch_size", "chunk_size", "likelihood"):
        assert getattr(args, name) == getattr(request, name), name
    for name in ("cache_bytes", "shard", "limit", "retry_failed"):
        assert getattr(args, name) == getattr(request, name), name


def test_a_transfers_defaults_are_the_requests() -> None:
    args = parsed(transfer, "--expression", "e", "--source", "s", "--target", "t", "-o", "out")
    request = requests.TransferRequest(["e"], ["t"], "out")
    for name in ("model", "precision", "method", "alphas", "batch_size", "paste_back", "n_neutral"):
        assert getattr(args, name) == getattr(request, name), name
    assert args.neutralise == request.neutralise
    without = parsed(transfer, "--expression", "e", "--target", "t", "-o", "out")
    assert without.source is None and request.source is None


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"expressions": []}, "`expressions` is"),
        ({"targets": "bob"}, "`targets` is 'bob'"),
        ({"paste_back": True}, "`paste_back` needs `photographs`"),
        ({"n_neutral": 0}, "`n_neutral` is 0"),
        ({"batch_size": 0}, "`batch_size` is 0"),
    ],
)
def test_a_wrong_transfer_is_refused_where_it_is_made(wrong: dict, why: str) -> None:
    right = {"expressions": ["e"], "source": "s", "targets": ["t"], "out": "out"}
    with pytest.raises(requests.InputError, match=why):
        requests.TransferRequest(**right | wrong)


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"shard": (3, 2)}, "`shard` is"),
        ({"limit": 0}, "`limit` is 0"),
        ({"cache_bytes": 0}, "`cache_bytes` is 0"),
    ],
)
def test_a_wrong_batch_is_refused_where_it_is_made(wrong: dict, why: str) -> None:
    with pytest.raises(requests.InputError, match=why):
        requests.BatchRequest("job.csv", "out", **wrong)

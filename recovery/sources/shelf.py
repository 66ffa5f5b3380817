"""Keeps one half-read compressed file between two readings, so that reading one table after the
other unpacks the file once and not once per table."""

from pathlib import Path

from recovery.sources.model import Wrapper
from recovery.sources.stream import Stream, open_stream


class Shelf:
    def __init__(self, path: Path, wrappers: tuple[Wrapper, ...]) -> None:
        self._path = path
        self._wrappers = wrappers
        self._kept: list[Stream] = []

    def __del__(self) -> None:
        for stream in self._kept:
            stream.close()

    def take(self, position: int) -> Stream:
        """A stream that stands at `position`; the caller's own until it is closed or kept."""
        stream = self._kept.pop() if self._kept else None
        if stream is not None and stream.position > position:
            stream.close()
            stream = None
        if stream is None:
            stream = open_stream(self._path, self._wrappers)
        stream.skip_to(position)
        return stream

    def keep(self, stream: Stream) -> None:
        if self._wrappers and not self._kept:
            self._kept.append(stream)
        else:
            stream.close()

"""A file, for dry runs and for letters: one JSON object a line."""

import json
import os
from pathlib import Path

from wavewise.errors import InputError
from wavewise.fieldwork.channels.base import Accepted, NotSent, Outgoing, SendResult, Unknown
from wavewise.fieldwork.channels.settings import ChannelSettings, Secrets

__all__ = ["FileChannel", "open_channel"]


class FileChannel:
    """Messages as lines of a file; several workers may append to the same one."""

    is_idempotent = False

    def __init__(self, settings: ChannelSettings) -> None:
        self.name = settings.channel
        path = Path(settings.option("path"))
        try:
            path.parent.mkdir(0o700, parents=True, exist_ok=True)
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        except OSError as error:
            raise InputError(
                f"the file of channel '{self.name}' cannot be written ({error.strerror}); "
                "needed a path in a folder that may be written to"
            ) from None

    async def send(self, outgoing: Outgoing) -> SendResult:
        """Append once: the line is whole, or it is not there."""
        line = json.dumps(
            {
                "key": outgoing.key,
                "channel": self.name,
                "to": outgoing.address,
                "message": outgoing.message_id,
                "title": outgoing.title,
                "text": outgoing.text,
                "language": outgoing.language,
                "fields": dict(outgoing.fields),
            },
            ensure_ascii=False,
        )
        data = line.encode() + b"\n"
        try:
            written = os.write(self._file, data)
        except OSError as error:
            text = f"the file cannot be written ({error.strerror})"
            return NotSent(text, retry=True, stops_channel=True)
        return Accepted(outgoing.key) if written == len(data) else Unknown("half a line written")

    async def close(self) -> None:
        """Close the file."""
        os.close(self._file)


def open_channel(settings: ChannelSettings, _secrets: Secrets) -> FileChannel:
    """The channel."""
    settings.know_only("path")
    return FileChannel(settings)

"""Prompts: sound files in a folder, checked before the first call and made ready for a line."""

import hashlib
import wave
from dataclasses import dataclass
from pathlib import Path

from wavewise.errors import Fault, InputError

__all__ = ["Prompt", "PromptFolder", "write_silence"]

RATES_HZ = (8_000, 16_000)
# A line's player hangs up where its file ends: silence follows every prompt, longer than any wait.
SILENCE_AFTER_SECONDS = 120


@dataclass(frozen=True)
class Prompt:
    """One sound file."""

    path: Path  # The file.
    seconds: float  # How long it plays.


@dataclass(frozen=True)
class PromptFolder:
    """The prompts of a study, by the names that its call flows use."""

    root: Path  # Folder of the sound files, e.g. ``DIR/prompts``.

    def faults(self, names: tuple[str, ...]) -> list[Fault]:
        """What is wrong with the files of these names: missing, or of a form that no line plays."""
        found: list[Fault] = []
        for name in names:
            try:
                self.read(name)
            except InputError as error:
                found.extend(error.faults)
        return found

    def read(self, name: str) -> Prompt:
        """The prompt of a name."""
        place = f"prompt {name[:100]!r}"
        try:
            path = (self.root / name).resolve()
            is_file = path.is_file()
        except (ValueError, OSError):  # a NUL character, a name longer than any file's
            raise _error(place, "a name that no file has", "the name of a WAV file") from None
        if not path.is_relative_to(self.root.resolve()):
            needed = "a file inside the folder of prompts"
            raise _error(place, "a path that leaves the folder", needed)
        if not is_file:
            raise _error(place, "no such file", f"a WAV file {name} in {self.root}")
        try:
            with wave.open(str(path), "rb") as sound:
                form = (sound.getsampwidth(), sound.getnchannels(), sound.getframerate())
                seconds = sound.getnframes() / max(sound.getframerate(), 1)
        except (wave.Error, EOFError) as error:
            raise _error(place, f"{error}", "a WAV file") from None
        if form[:2] != (2, 1) or form[2] not in RATES_HZ:
            found = f"{8 * form[0]} bits, {form[1]} channels, {form[2]} Hz"
            fix = "sox IN.wav -r 8000 -c 1 -b 16 OUT.wav makes one"
            raise _error(place, found, "16 bits, one channel, 8000 or 16000 Hz", fix)
        return Prompt(path, seconds)

    def with_silence(self, name: str, folder: Path) -> Prompt:
        """The prompt followed by silence, as a file of its own in ``folder``.

        ``seconds`` stays the length of the prompt itself.
        """
        prompt = self.read(name)
        key = hashlib.sha256(f"{prompt.path}:{prompt.path.stat().st_mtime_ns}".encode())
        padded = folder / f"{key.hexdigest()[:24]}.wav"
        if not padded.is_file():
            with wave.open(str(prompt.path), "rb") as sound:
                parameters, frames = sound.getparams(), sound.readframes(sound.getnframes())
            unfinished = padded.with_suffix(".part")
            with wave.open(str(unfinished), "wb") as sound:
                sound.setparams(parameters)
                silence = b"\0\0" * (parameters.framerate * SILENCE_AFTER_SECONDS)
                sound.writeframes(frames + silence)
            unfinished.replace(padded)
        return Prompt(padded, prompt.seconds)


def write_silence(path: Path) -> Path:
    """A file of silence, which a line plays until the first prompt."""
    if not path.is_file():
        with wave.open(str(path), "wb") as sound:
            sound.setnchannels(1)
            sound.setsampwidth(2)
            sound.setframerate(RATES_HZ[0])
            sound.writeframes(b"\0\0" * (RATES_HZ[0] * SILENCE_AFTER_SECONDS))
    return path


def _error(place: str, found: str, needed: str, fix: str = "") -> InputError:
    fault = Fault(place, found, needed, fix)
    return InputError("a prompt cannot be played", [fault])

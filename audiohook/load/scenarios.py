"""Plays scenarios against a daemon, one after another, and says which went as their files expect.

Uses what anybody's programs could: the port, the hub as a reader, and the hub's commands as an operator (where a
scenario has such steps, this process needs the role `operate`).
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import numpy as np

import audiohook
from audiohook.codec import pcmu
from audiohook.control.attachment import find_hub
from audiohook.control.commander import Commander
from audiohook.load import speech
from audiohook.load.acting import Actor
from audiohook.load.check import Samples
from audiohook.load.credentials import Credentials
from audiohook.load.errors import LoadError
from audiohook.load.judging import judge
from audiohook.load.line import LineError
from audiohook.load.scenario import load_scenario
from audiohook.load.script import MAX_CLIPS, at_8000
from audiohook.load.target import Target

SPEECH_SECONDS = 60
"""Longer than any scenario, so that no instant sounds like another."""


class Played(msgspec.Struct, frozen=True):
    """How a scenario went: `wrong` has a sentence for each thing that was not as expected."""

    name: str
    about: str
    wrong: tuple[str, ...]


def play(
    target: Target, files: Sequence[Path], *, hub: str | None, audio: Path | None, credentials: Credentials
) -> Iterator[Played]:
    """Play the scenarios of `files` in turn. LoadError: a file or the audio cannot be used, or there is no hub."""
    loaded = [(file, load_scenario(file)) for file in files]
    voices = _voices(audio or speech.obtain(Path("var")))
    with audiohook.attach(hub) as attached, Commander(find_hub(hub)) as commander:

        def command(verb: str, participant_id: str) -> None:
            streams = [stream for stream in attached.streams() if stream.participant_id == participant_id]
            if not streams:
                raise LoadError(f"{verb}: the call has no stream")
            answer = commander.ask(verb, stream=streams[-1].stream_id)
            if not answer["ok"]:
                raise LoadError(f"{verb}: the daemon refused: {answer}")

        for file, scenario in loaded:
            actor = Actor(scenario, target, credentials, voices, command)
            try:
                wrong = judge(scenario, actor.perform(), attached, voices)
            except LineError as error:
                wrong = [str(error)]
            yield Played(file.stem, scenario.about, tuple(wrong))


def _voices(folder: Path) -> Samples:
    """Return speech of two voices, (frames, 2) at 8,000 Hz: the second is the first, from its middle on."""
    clips = [at_8000(clip) for clip in speech.load_clips(folder, MAX_CLIPS)]
    one = np.resize(np.concatenate(clips), SPEECH_SECONDS * pcmu.RATE_HZ)
    return np.stack([one, np.roll(one, len(one) // 2)], axis=1)

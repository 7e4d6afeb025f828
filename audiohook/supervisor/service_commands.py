"""Commands for the service as a whole, from the hub and from signals: scale, reload, what became of a reload.

Turns each into an input of the policy and the policy's answer into a reply. Knows no line and no process.
"""

from collections.abc import Callable, Mapping

from audiohook.control.commands import Command, Reply, Verb
from audiohook.supervisor import generations
from audiohook.supervisor.hooks import Hooks
from audiohook.supervisor.orders import Input, ReloadAsked, Scale, Scaled, ScaleRefused
from audiohook.supervisor.reloads import ReloadPhase
from audiohook.supervisor.scaling import in_words
from audiohook.supervisor.state import State


class ServiceCommands:
    """`feed` puts an input through the policy, `state` returns what the policy knows, `call` guards a hook."""

    def __init__(
        self,
        feed: Callable[[Input], None],
        state: Callable[[], State],
        hooks: Hooks,
        call: Callable[[Callable[[], None]], None],
    ) -> None:
        self._feed = feed
        self._state = state
        self._hooks = hooks
        self._call = call
        self._scaling: Scaled | ScaleRefused | None = None

    def serve(self, command: Command) -> Reply:
        """Carry out what the hub asks; a reload is only begun, and OUTCOME says what became of it."""
        if command.verb is Verb.RELOAD:
            return self._reload(command)
        if command.verb is Verb.OUTCOME:
            return self._outcome(command)
        done = self.scale(command.argument, {"uid": command.uid, "pid": command.pid})
        return command.done(done.after, in_words(done)) if isinstance(done, Scaled) else command.refused(done.text)

    def scale(self, workers: int, asked: Mapping[str, object]) -> Scaled | ScaleRefused:
        loads: list[int] = []
        self._call(lambda: loads.extend(self._hooks.loads()))
        self._feed(Scale(workers, tuple(loads), asked))
        assert self._scaling is not None, "the policy answers every Scale"
        return self._scaling

    def scaled(self, command: Scaled | ScaleRefused) -> None:
        """Carry out the policy's answer to a `Scale`."""
        self._scaling = command
        if isinstance(command, Scaled):
            self._call(lambda: self._hooks.on_scaled(command))

    def _reload(self, command: Command) -> Reply:
        fault = generations.refusal(self._state())
        if fault is not None:
            return command.refused(fault)
        self._feed(ReloadAsked({"uid": command.uid, "pid": command.pid}))
        return command.done(self._state().reload.attempt)

    def _outcome(self, command: Command) -> Reply:
        reload = self._state().reload
        for outcome in reload.outcomes:
            if outcome.attempt == command.argument:
                ended = outcome.generation, outcome.text
                return command.done(*ended) if outcome.generation else command.refused(outcome.text)
        if reload.attempt == command.argument and reload.phase is not ReloadPhase.NONE:
            return command.done(0, reload.phase.value)
        return command.gone("no such reload is known here")

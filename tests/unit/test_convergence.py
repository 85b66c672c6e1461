"""Replicas joined in memory, by a server that passes messages on when the example says so."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from pycrdt import Doc, create_update_message, handle_sync_message

from langchain_jupyter.documents.notebook import NotebookDocument
from langchain_jupyter.documents.provider import Replica
from langchain_jupyter.documents.rebase import EditKeeper
from tests.collaborators import NOTEBOOK, Agent, Log, Person, Step, check, steps
from tests.search import examples


class Hub:
    """A room in memory: what a client sends and what it is sent waits until a step delivers it.

    Whose change comes first where two write at the same place follows from the ids of the clients, which are given, so
    that an example can be played again.
    """

    def __init__(self, client_ids: Sequence[int]) -> None:
        self.ydoc: Doc[Any] = Doc(client_id=9)
        NotebookDocument(self.ydoc).load(NOTEBOOK, {})
        self._up: list[deque[bytes]] = [deque() for _ in range(3)]
        self._down: list[deque[bytes]] = [deque() for _ in range(3)]
        self.log = Log()
        self._replicas = [Replica(client_id) for client_id in client_ids]
        for replica, up in zip(self._replicas, self._up, strict=True):
            replica.ydoc.apply_update(self.ydoc.get_update())
            replica.connect(up.append)
        self._subscription = self.ydoc.observe(self._broadcast)
        document = NotebookDocument(self._replicas[0].ydoc)
        assert document.ids  # it keeps up from the first look on
        keeper = EditKeeper(document, doubt=self.log.doubted.update)
        self._replicas[0].before, self._replicas[0].after = keeper.brace, keeper.mend
        self.actors = [Agent(document, self.log), *(Person(r.ydoc, self.log) for r in self._replicas[1:])]

    def _broadcast(self, event: Any) -> None:
        for down in self._down:
            down.append(create_update_message(event.update))

    def step(self, step: Step) -> None:
        who, verb, a, b = step
        if verb == "send":
            self.send(who)
        elif verb == "receive":
            self.receive(who)
        else:
            self.actors[who].do(verb, a, b)

    def send(self, who: int) -> bool:
        if not self._up[who]:
            return False
        handle_sync_message(self._up[who].popleft()[1:], self.ydoc)
        return True

    def receive(self, who: int) -> bool:
        if not self._down[who]:
            return False
        self._replicas[who].take(self._down[who].popleft())
        return True

    def settle(self) -> None:
        moves = [(move, who) for who in range(3) for move in (self.send, self.receive)]
        while sum(move(who) for move, who in moves):
            pass

    def check(self) -> None:
        agent, *people = (actor.cells for actor in self.actors)
        assert people[0] == people[1] == agent
        check(agent, self.log)


@settings(max_examples=examples(300))
@given(steps, st.permutations([1, 2, 3]))
def test_all_replicas_come_to_the_same_and_no_edit_of_ours_is_lost_unsaid(
    steps: list[Step], client_ids: list[int]
) -> None:
    played(steps, client_ids).check()


def test_edits_around_a_persons_survive_a_move_by_another() -> None:
    steps: list[Step] = [
        (0, "type", 1, 0),
        (1, "move", 1, 0),
        (2, "type", 1, 0),
        (2, "send", 0, 0),
        (0, "receive", 0, 0),
        (0, "type", 1, 1),
    ]

    hub = played(steps, [1, 2, 3])
    hub.check()
    assert not hub.log.doubted


def played(steps: Sequence[Step], client_ids: Sequence[int]) -> Hub:
    hub = Hub(client_ids)
    for step in steps:
        hub.step(step)
    hub.settle()
    return hub

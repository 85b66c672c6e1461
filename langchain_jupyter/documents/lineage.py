"""Where each character of a text comes from, so that a copy made by somebody who had not seen it all can catch up."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from langchain_jupyter.documents.text import TextEdit, common

_EVENTS = 1_000
_WORK = 1_000_000
_TEAR, _TEAR_OURS = 4, 16
"""How many characters that do not fit are as bad as a change of which only parts are there, or others between them."""

_ORDERS = 30


@dataclass(slots=True, eq=False)
class _Atom:
    """One character that stands in the text, or once did.

    Attributes:
        text: The character.
        life: Numbers of the events with which it came, went, came again, and so on.
    """

    text: str
    life: list[int]

    @property
    def alive(self) -> bool:
        return len(self.life) % 2 == 1


class Adoption(NamedTuple):
    """What is to be done to a copy.

    Attributes:
        edits: Last one first.
        certain: Whether the copy is one that our changes and those of others, as we know them, can have given.
        whole: Whether it has all that others had done to the text when we last changed it.
    """

    edits: Sequence[TextEdit]
    certain: bool
    whole: bool


class _View(NamedTuple):
    """How the atoms may look to somebody: those that must be there, and those that may."""

    atoms: Sequence[_Atom]
    optional: Sequence[bool]


@dataclass(slots=True)
class Lineage:
    """The characters of one text in order, with those that went, and which changes were ours.

    A person's move in JupyterLab takes a cell out and puts a copy in. The copy has the text that the person saw: what
    we had not sent yet, or they had not got yet, is not in it. Whoever knows the text's characters one by one finds out
    which of our changes that is, without guessing from the difference of two texts: a copy has the first so many of our
    changes and not the others.
    """

    _atoms: list[_Atom]
    _ours: list[bool] = field(default_factory=lambda: [False])

    @classmethod
    def of(cls, text: str) -> Lineage:
        """Begins with a text that is nobody's."""
        return cls([_Atom(character, [0]) for character in text])

    def __str__(self) -> str:
        """The text as it stands."""
        return "".join(atom.text for atom in self._atoms if atom.alive)

    def __len__(self) -> int:
        return len(self._atoms)

    def change(self, delta: Sequence[Mapping[str, Any]], *, ours: bool) -> None:
        """Take in a change, as `pycrdt.TextEvent.delta` tells it: lengths count UTF-8 bytes."""
        number, at = self._next(ours), 0
        for step in delta:
            if "insert" in step:
                new = [_Atom(character, [number]) for character in step["insert"]]
                self._atoms[at:at] = new
                at += len(new)
            else:
                left = int(step.get("retain", 0) or step.get("delete", 0))
                while left > 0:
                    atom = self._atoms[at]
                    at += 1
                    if atom.alive:
                        left -= len(atom.text.encode())
                        if "delete" in step:
                            atom.life.append(number)

    def has_been(self, text: str) -> bool:
        """Whether the text is this one as it was before some of our changes."""
        return self._seen(text, relaxed=False) is not None

    def adopt(self, copy: str) -> Adoption | None:
        """Go on in a copy that somebody else made; the text is then the copy, with the changes of ours that it lacks.

        What others did and the copy lacks, is gone: so it is for them too.

        Returns:
            None if it is not known to be a copy. Nothing is changed then.
        """
        seen = self._seen(copy, relaxed=False) or self._seen(copy, relaxed=True)
        for atoms in () if seen else self._other_orders():
            seen = Lineage(atoms, self._ours)._seen(copy, relaxed=True)
            if seen is not None:
                self._atoms = atoms
                break
        alike = seen or self._alike(copy)
        if alike is None:
            return None
        whole = not any(self._unknown_to(atom, alike[1]) for atom in self._atoms)
        return Adoption(_joined(self._go_on(copy, *alike))[::-1], seen is not None, whole)

    # -- inside -------------------------------------------------------------------------------------------------

    def _next(self, ours: bool) -> int:
        if len(self._ours) > _EVENTS:
            self._forget(_EVENTS // 2)
        self._ours.append(ours)
        return len(self._ours) - 1

    def _forget(self, count: int) -> None:
        """Make the oldest changes part of the beginning."""
        for atom in self._atoms:
            early = sum(number <= count for number in atom.life)
            atom.life[:early] = [0] if early % 2 else []
            atom.life[:] = [max(number - count, 0) for number in atom.life]
        self._atoms = [atom for atom in self._atoms if atom.life]
        del self._ours[1 : count + 1]

    def _limits(self) -> Iterator[int]:
        """Numbers before which somebody may have seen all of our changes and after which none; the last one first."""
        yield len(self._ours)
        yield from (number for number in range(len(self._ours) - 1, 0, -1) if self._ours[number])

    def _view(self, limit: int, *, relaxed: bool) -> _View:
        """The text for somebody who has not seen our changes from `limit` on, and all of others; or not all, relaxed.

        What we took out unseen, others may have taken out as well: nobody tells us of that.
        """
        atoms, optional = [], []
        for atom in self._atoms:
            seen = [n for n, number in enumerate(atom.life) if number < limit or not self._ours[number]]
            if not seen or seen[0]:
                continue
            there = seen[-1] % 2 == 0
            by_others = relaxed and any(atom.life[n] and not self._ours[atom.life[n]] for n in seen)
            if there or (by_others and not self._ours[atom.life[seen[-1]]]):
                atoms.append(atom)
                optional.append(by_others or seen[-1] < len(atom.life) - 1)
        return _View(atoms, optional)

    def _seen(self, copy: str, *, relaxed: bool) -> tuple[int, Mapping[int, int]] | None:
        """What the maker of a copy has seen: the limit of our changes, and where in the copy each atom is."""
        for limit in self._limits():
            view = self._view(limit, relaxed=relaxed)
            fit = _fit(view, copy)
            if fit is not None:
                return limit, {id(atom): place for atom, place in zip(view.atoms, fit, strict=True) if place >= 0}
        return None

    def _alike(self, copy: str) -> tuple[int, Mapping[int, int]] | None:
        """As `_seen`, where others have changed the copy since, or we have not got all that they did before."""
        views = [(limit, self._view(limit, relaxed=False).atoms) for limit in self._limits()]
        views += [
            (limit, [atom for atom in atoms if not self._by_others(atom) or self._ours[atom.life[-1]]])
            for limit, atoms in views
        ]
        best, found = 0, None
        for limit, atoms in views:
            if len(atoms) * len(copy) > _WORK:
                return None
            pairs = common("".join(atom.text for atom in atoms), copy)
            places = {id(atoms[one]): other for one, other in pairs}
            cost = len(copy) + len(atoms) - 2 * len(places) + self._torn(atoms, places)
            if found is None or cost < best:
                best, found = cost, (limit, places)
        return found

    def _torn(self, atoms: Sequence[_Atom], places: Mapping[int, int]) -> int:
        """What it counts that changes are in a copy in part, or with others amid them."""
        return sum(
            _TEAR_OURS if any(self._ours[number] for number in one.life) else _TEAR
            for one, other in itertools.pairwise(atoms)
            if one.life[0] == other.life[0] and _apart(places.get(id(one)), places.get(id(other)))
        )

    def _other_orders(self) -> Iterator[list[_Atom]]:
        """The atoms in other orders that may be the true one.

        Where others put something in beside what we had taken out, we are not told on which side of it.
        """
        runs = [list(run) for _, run in itertools.groupby(self._atoms, key=lambda atom: atom.life)]
        ways = [range(self._later(runs, at) + 1) for at in range(len(runs))]
        for steps in itertools.islice(itertools.product(*ways), 1, _ORDERS):
            ordered: list[list[_Atom]] = []
            for run, step in zip(runs, steps, strict=True):
                ordered.insert(len(ordered) - step, run)
            yield list(itertools.chain.from_iterable(ordered))

    def _later(self, runs: Sequence[Sequence[_Atom]], at: int) -> int:
        """How many runs before one that we have taken out are of others, and came after that."""
        went = runs[at][0].life[-1]
        if runs[at][0].alive or not self._ours[went]:
            return 0
        before = (run[0] for run in reversed(runs[:at]))
        return sum(1 for _ in itertools.takewhile(lambda atom: atom.life[0] > went and self._by_others(atom), before))

    def _by_others(self, atom: _Atom) -> bool:
        return atom.life[0] > 0 and not self._ours[atom.life[0]]

    def _unknown_to(self, atom: _Atom, places: Mapping[int, int]) -> bool:
        """Whether a copy lacks what others had last done to an atom before our latest change."""
        latest = max((number for number, ours in enumerate(self._ours) if ours), default=0)
        last = atom.life[-1]
        return not self._ours[last] and last < latest and atom.alive != (id(atom) in places)

    def _go_on(self, copy: str, limit: int, places: Mapping[int, int]) -> Iterator[TextEdit]:
        number = self._next(False)
        offsets = _offsets(copy)
        atoms: list[_Atom] = []
        at = 0
        for atom in self._atoms:
            place = places.get(id(atom))
            unseen = atom.life[-1] >= limit and self._ours[atom.life[-1]]
            if place is not None:
                atoms += [_Atom(character, [number]) for character in copy[at:place]]
                at = place + 1
                if not atom.alive and unseen:
                    yield TextEdit(offsets[place], offsets[at], "")
                elif not atom.alive:
                    atom.life.append(number)
            elif atom.alive and unseen:
                yield TextEdit(offsets[at], offsets[at], atom.text)
            elif atom.alive:
                atom.life.append(number)
            atoms.append(atom)
        self._atoms = atoms + [_Atom(character, [number]) for character in copy[at:]]


def _fit(view: _View, copy: str) -> list[int] | None:
    """Where in the copy each atom is, -1 for one that is not; None if the copy is something else.

    What came with one change, and went with one, is there as a whole or not at all.
    """
    if not any(view.optional):
        return list(range(len(copy))) if copy == "".join(atom.text for atom in view.atoms) else None
    reached: set[tuple[int, bool]] = {(0, True)}
    ways: list[dict[tuple[int, bool], bool]] = []
    work, life = 0, [-1]
    for atom, optional in zip(view.atoms, view.optional, strict=True):
        way: dict[tuple[int, bool], bool] = {}
        for at, there in reached:
            for present in (True, False) if optional else (True,):
                fits = not present or copy[at : at + 1] == atom.text
                if fits and (present == there or atom.life != life):
                    way[at + present, present] = there
        work += len(way)
        if not way or work > _WORK:
            return None
        reached, life = set(way), atom.life
        ways.append(way)
    end = next((end for end in ((len(copy), True), (len(copy), False)) if end in reached), None)
    return None if end is None else _way_back(ways, end)


def _apart(one: int | None, other: int | None) -> bool:
    return one is not other if one is None or other is None else one + 1 != other


def _way_back(ways: Sequence[Mapping[tuple[int, bool], bool]], state: tuple[int, bool]) -> list[int]:
    places = []
    for way in reversed(ways):
        at, there = state
        places.append(at - 1 if there else -1)
        state = (at - there, way[state])
    return places[::-1]


def _joined(edits: Iterable[TextEdit]) -> list[TextEdit]:
    """Runs as one edit each: what is put in bit by bit, others may come in between."""
    joined: list[TextEdit] = []
    for edit in edits:
        if joined and joined[-1].end == edit.start:
            joined[-1] = TextEdit(joined[-1].start, edit.end, joined[-1].text + edit.text)
        else:
            joined.append(edit)
    return joined


def _offsets(text: str) -> list[int]:
    """Where each character begins, and the end, in UTF-8 bytes."""
    offsets = [0]
    for character in text:
        offsets.append(offsets[-1] + len(character.encode()))
    return offsets

"""What was called since a body began: exact for few calls, and 16 bytes an identity for millions."""

from __future__ import annotations

from array import array

FEW = 10_000
SHARDS = 256


class Counts:
    """Counts calls by identity (32 hex digits).

    The first 10,000 identities stand in a dict. Beyond that they are kept as 64-bit numbers in open-addressing tables
    (linear probing, as in Knuth's The Art of Computer Programming, volume 3, section 6.4), of which there are 256, so
    that growing one never stops the event loop for long. Two of a million identities share their 64 bits with a
    chance of 1 in 36 million; the later one would then count as a repetition.

    `live` holds who called what has not ended yet, by identity; `names` counts whatever else is numbered.
    """

    __slots__ = ("_few", "_repeated", "_shards", "live", "names")

    def __init__(self) -> None:
        self.live: dict[str, object] = {}
        self.names: dict[str, int] = {}
        self._few: dict[str, int] = {}
        self._repeated: dict[int, int] = {}
        self._shards: list[_Shard] | None = None

    def take(self, identity: str) -> int:
        """Count one call; gives how many there were before."""
        if self._shards is not None:
            return self._take(self._shards, int(identity[:16], 16) or 1)
        few = self._few
        count = few.get(identity, 0)
        few[identity] = count + 1
        if len(few) > FEW:
            self._spread()
        return count

    def number(self, name: str) -> int:
        """Count one use of a name; gives how many there were before."""
        count = self.names.get(name, 0)
        self.names[name] = count + 1
        return count

    def _spread(self) -> None:
        shards = self._shards = [_Shard() for _ in range(SHARDS)]
        for identity, count in self._few.items():
            number = int(identity[:16], 16) or 1
            shards[number % SHARDS].add(number)
            if count > 1:
                self._repeated[number] = count
        self._few = {}

    def _take(self, shards: list[_Shard], number: int) -> int:
        if shards[number % SHARDS].add(number):
            return 0
        count = self._repeated.get(number, 1)
        self._repeated[number] = count + 1
        return count


class _Shard:
    """A set of numbers above 0."""

    __slots__ = ("_mask", "_table", "_used")

    def __init__(self) -> None:
        self._mask = 127
        self._table = array("Q", bytes(8 * 128))
        self._used = 0

    def add(self, number: int) -> bool:
        """Put a number in; whether it is new."""
        table, mask = self._table, self._mask
        place = (number // SHARDS) & mask
        while (held := table[place]) != 0:
            if held == number:
                return False
            place = (place + 1) & mask
        table[place] = number
        self._used += 1
        if 2 * self._used > mask:
            self._grow()
        return True

    def _grow(self) -> None:
        old = self._table
        self._mask = 2 * self._mask + 1
        self._table = array("Q", bytes(8 * (self._mask + 1)))
        self._used = 0
        for number in old:
            if number:
                self.add(number)

"""What is remembered about tokens, for how long, and that one review serves all who ask."""

import asyncio
from collections.abc import Callable

import pytest

from modelward_runtime.access import verdicts
from modelward_runtime.access.door import GuardedGate, hash_token
from modelward_runtime.access.identity import FOREVER, Identity, Refusal, Unreachable
from modelward_runtime.access.verdicts import Verdicts
from modelward_runtime.caller import Caller
from modelward_runtime.errors import ApiError, CallerUnknown, PredictForbidden, Unauthenticated

ADA = Caller("ada")


class House:
    """A gate over an authenticator that knows everybody until told otherwise, with clocks that a test sets."""

    def __init__(self) -> None:
        self.now, self.wall = 1000.0, 1_700_000_000.0
        self.reviews = 0
        self.error: Exception | None = None
        self.permitted = True
        self.expires = FOREVER
        self.open = asyncio.Event()
        self.open.set()
        self.gate = GuardedGate(self, self, patience=60)
        self.gate._verdicts = Verdicts(self.gate._review, lambda: self.now, lambda: self.wall)

    async def authenticate(self, token: bytes) -> Identity:
        self.reviews += 1
        await self.open.wait()
        if self.error:
            raise self.error
        return Identity("ada", expires=self.expires)

    async def permits(self, identity: Identity) -> bool:
        return self.permitted

    async def admit(self, token: str = "t", peer: str = "") -> Caller | type[ApiError]:
        return await self.admit_raw(f"Bearer {token}".encode(), peer)

    async def admit_raw(self, authorization: bytes, peer: str = "") -> Caller | type[ApiError]:
        try:
            return await self.gate.admit(authorization, peer)
        except ApiError as error:
            return type(error)
        finally:
            await asyncio.sleep(0)

    def flood(self, count: int, peer: Callable[[int], str]) -> "list[asyncio.Task[Caller | type[ApiError]]]":
        """So many callers at once, each with a token of its own, while no review ends."""
        self.open.clear()
        return [asyncio.ensure_future(self.admit(f"x{number}", peer(number))) for number in range(count)]

    async def settle(self) -> None:
        while running := list(self.gate._verdicts._reviews.values()):
            await asyncio.gather(*running)
            await asyncio.sleep(0)  # gather does not wait for what is done, from Python 3.12 on


@pytest.fixture
async def house() -> House:
    return House()


async def test_a_known_token_is_not_reviewed_again_for_ten_seconds(house: House) -> None:
    for house.now in (1000.0, 1003.0, 1007.4):
        assert ADA == await house.admit()
    assert 1 == house.reviews


async def test_it_is_renewed_before_that_without_making_anybody_wait(house: House) -> None:
    await house.admit()
    house.open.clear()
    house.now += 8
    assert [ADA] * 3 == [await house.admit() for _ in range(3)]
    house.open.set()
    await house.settle()
    assert 2 == house.reviews
    house.now += 7
    assert ADA == await house.admit()
    assert 2 == house.reviews


@pytest.mark.parametrize(
    ("reason", "error", "permitted", "expected"),
    [
        ("the token is over", Refusal("gone"), True, Unauthenticated),
        ("the right is gone", None, False, PredictForbidden),
    ],
)
async def test_a_renewal_that_refuses_holds_at_once(
    house: House, reason: str, error: Exception | None, permitted: bool, expected: type[ApiError]
) -> None:
    await house.admit()
    house.error, house.permitted = error, permitted
    house.now += 8
    await house.admit()
    await house.settle()
    assert expected is await house.admit(), reason


async def test_nobody_is_known_longer_than_the_token_lasts(house: House) -> None:
    house.expires = house.wall + 4
    assert ADA == await house.admit()
    house.now += 4.1
    house.error = Refusal("expired")
    assert Unauthenticated is await house.admit()


async def test_a_token_in_its_leeway_is_known_for_a_second(house: House) -> None:
    house.expires = house.wall - 20
    assert [ADA] * 5 == [await house.admit() for _ in range(5)]
    assert 1 == house.reviews
    house.now += 1.1
    house.error = Refusal("expired")
    assert Unauthenticated is await house.admit()


async def test_a_clock_that_is_set_changes_nothing_for_who_is_known(house: House) -> None:
    house.expires = house.wall + 3600
    await house.admit()
    house.error = Unreachable("away")
    for house.wall in (0.0, 4e9):
        assert ADA == await house.admit()


SPELLINGS = [b"Bearer t", b"bearer t", b"BEARER  t", b"bEaReR" + b" " * 500 + b"t", b"Bearer t  "]


@pytest.mark.parametrize(
    ("error", "expected"), [(None, ADA), (Refusal("no"), Unauthenticated)], ids=["let in", "refused"]
)
async def test_one_token_is_one_review_however_its_header_is_spelled(
    house: House, error: Exception | None, expected: object
) -> None:
    house.error = error
    house.open.clear()
    burst = [asyncio.ensure_future(house.admit_raw(spelling)) for spelling in SPELLINGS]
    await asyncio.sleep(0)
    house.open.set()
    assert [expected] * 5 == await asyncio.gather(*burst)
    assert [expected] * 5 == [await house.admit_raw(spelling) for spelling in SPELLINGS]
    assert 1 == house.reviews


async def test_what_holds_no_token_is_reviewed_by_nobody(house: House) -> None:
    for nothing in (b"", b"Bearer", b"Bearer ", b"Basic t", b"Bearer\tt", b"Bearer a b", b"Bearer " + b"t" * 16384):
        assert Unauthenticated is await house.admit_raw(nothing)
    assert 0 == house.reviews


async def test_who_is_refused_is_asked_about_again_after_three_seconds(house: House) -> None:
    house.error = Refusal("no")
    assert [Unauthenticated] * 5 == [await house.admit() for _ in range(5)]
    assert 1 == house.reviews
    house.now, house.error = house.now + 3.1, None
    assert ADA == await house.admit()


async def test_while_nobody_can_be_asked_the_known_stay_ten_seconds_and_then_the_door_is_shut(house: House) -> None:
    await house.admit()
    house.error = Unreachable("away")
    for house.now in (1008.0, 1009.5):
        assert ADA == await house.admit()
        await house.settle()
    house.now = 1010.1
    assert CallerUnknown is await house.admit()
    house.now, house.error = 1011.2, None
    assert ADA == await house.admit(), "a second later it is tried again"


async def test_a_flaw_of_ours_keeps_the_door_shut(house: House, caplog: pytest.LogCaptureFixture) -> None:
    house.error = ZeroDivisionError("secret")
    assert CallerUnknown is await house.admit()
    assert "this is a bug" in caplog.text


async def test_a_burst_is_one_review_and_a_caller_who_leaves_takes_nobody_along(house: House) -> None:
    house.open.clear()
    burst = [asyncio.ensure_future(house.admit()) for _ in range(100)]
    await asyncio.sleep(0)
    burst[0].cancel()
    await asyncio.sleep(0)
    house.open.set()
    assert [ADA] * 99 == await asyncio.gather(*burst[1:])
    assert 1 == house.reviews


async def test_a_review_that_takes_too_long_is_no_admission(house: House) -> None:
    house.gate._patience = 0.01
    house.open.clear()
    assert CallerUnknown is await house.admit()
    house.open.set()
    await house.settle()
    assert ADA == await house.admit(), "what it finds counts for the next call"


async def test_a_flood_of_invented_tokens_waits_in_a_lane_of_its_own(house: House) -> None:
    await house.admit("known")
    flood = house.flood(verdicts._LENGTH + 50, lambda number: f"10.0.0.{number % 8}")
    for _ in range(10):
        await asyncio.sleep(0)
    assert verdicts._WIDTH + 1 == house.reviews, "so many at once"
    assert 50 == sum(call.done() and call.result() is CallerUnknown for call in flood), "and so many wait"
    house.now += 8
    assert ADA == await house.admit("known")
    assert verdicts._WIDTH + 2 == house.reviews, "the known are renewed meanwhile"
    house.error = Refusal("no")
    house.open.set()
    await asyncio.gather(*flood)


async def test_one_address_cannot_take_the_lane_of_strangers(house: House) -> None:
    flood = house.flood(3000, lambda _: "10.0.0.66")
    for _ in range(10):
        await asyncio.sleep(0)
    assert 3000 - verdicts._SHARE == sum(call.done() and call.result() is CallerUnknown for call in flood)
    newcomer = asyncio.ensure_future(house.admit("new", "10.0.0.7"))
    await asyncio.sleep(0)
    house.open.set()
    assert ADA == await newcomer
    await asyncio.gather(*flood)
    assert not house.gate._verdicts._strangers._booked, "places are given back"


async def test_whoever_was_let_in_within_the_hour_is_no_stranger(house: House) -> None:
    await house.admit("known")
    house.now += 3599
    flood = house.flood(1000, lambda number: f"10.0.0.{number}")
    for _ in range(10):
        await asyncio.sleep(0)
    known = asyncio.ensure_future(house.admit("known", "10.0.0.0"))
    await asyncio.sleep(0)
    house.open.set()
    assert ADA == await known
    await asyncio.gather(*flood)


@pytest.mark.parametrize(("reason", "later", "error"), [("an hour ago", 3601, None), ("refused", 8, Refusal("gone"))])
async def test_and_a_stranger_after_that(house: House, reason: str, later: float, error: Exception | None) -> None:
    await house.admit("known")
    house.now, house.error = house.now + later, error
    await house.admit("known")
    await house.settle()
    assert (error is None) == (hash_token(b"known") in house.gate._verdicts._acquainted), reason
    house.now += 3601
    flood = house.flood(1000, lambda number: f"10.0.0.{number}")
    for _ in range(10):
        await asyncio.sleep(0)
    assert CallerUnknown is await house.admit("known"), reason
    house.open.set()
    await asyncio.gather(*flood)


async def test_who_found_no_place_is_let_in_as_soon_as_there_is_one(house: House) -> None:
    flood = house.flood(verdicts._SHARE, lambda _: "10.0.0.66")
    await asyncio.sleep(0)
    assert CallerUnknown is await house.admit("honest", "10.0.0.66")
    house.open.set()
    await asyncio.gather(*flood)
    assert ADA == await house.admit("honest", "10.0.0.66")


async def test_tables_are_bounded_and_the_refused_push_nobody_out(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verdicts, "_MOST", 10)
    await house.admit("known")
    house.error = Refusal("no")
    for number in range(50):
        await house.admit(f"x{number}")
    assert 10 == len(house.gate._verdicts._refusals)
    assert ADA == await house.admit("known")
    assert 51 == house.reviews


async def test_no_token_is_kept(house: House) -> None:
    await house.admit("secret")
    digest = hash_token(b"secret")
    assert [digest] == list(house.gate._verdicts._admissions)
    assert "secret" not in repr(vars(house.gate._verdicts))

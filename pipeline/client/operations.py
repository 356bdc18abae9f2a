"""Everything that can be asked for, by the name it has in both clients."""

import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, Self, TypeVar, overload

from pipeline.client import batches as on_batches
from pipeline.client import callbacks as on_callbacks
from pipeline.client import messages as on_messages
from pipeline.client import money as on_money
from pipeline.client import opt_outs as on_opt_outs
from pipeline.client import sending as on_sending
from pipeline.client.calls import Call, Page
from pipeline.client.exchange import Script, one

if TYPE_CHECKING:
    from pipeline.client.clients import AsyncClient, Client

P = ParamSpec("P")
T = TypeVar("T")


class script(Generic[P, T]):
    """A method of both clients, written once: what the function yields is carried out, its value returned (by
    AsyncClient when awaited)."""

    def __init__(self, written: Callable[P, Script[T]]) -> None:
        self._written = written
        self.__doc__ = written.__doc__

    @overload
    def __get__(self, client: "Client", owner: type | None = None) -> Callable[P, T]: ...
    @overload
    def __get__(self, client: "AsyncClient", owner: type | None = None) -> Callable[P, Awaitable[T]]: ...
    @overload
    def __get__(self, client: None, owner: type | None = None) -> Self: ...
    def __get__(self, client: "Client | AsyncClient | None", owner: type | None = None) -> Any:
        if client is None:
            return self

        @functools.wraps(self._written)
        def method(*arguments: P.args, **named: P.kwargs) -> Any:
            return client._run(self._written(*arguments, **named))

        return method


class call(script[P, T]):
    """The same of a single call."""

    def __init__(self, written: Callable[P, Call[T]]) -> None:
        @functools.wraps(written)
        def single(*arguments: P.args, **named: P.kwargs) -> Script[T]:
            return one(written(*arguments, **named))

        super().__init__(single)


class listing(Generic[P, T]):
    """A method of both clients that gives all there is, page by page as it is asked for: an iterator of Client, an
    async one of AsyncClient."""

    def __init__(self, written: Callable[P, Call[Page[T]]]) -> None:
        self._written = written
        self.__doc__ = written.__doc__

    @overload
    def __get__(self, client: "Client", owner: type | None = None) -> Callable[P, Iterator[T]]: ...
    @overload
    def __get__(self, client: "AsyncClient", owner: type | None = None) -> Callable[P, AsyncIterator[T]]: ...
    @overload
    def __get__(self, client: None, owner: type | None = None) -> Self: ...
    def __get__(self, client: "Client | AsyncClient | None", owner: type | None = None) -> Any:
        if client is None:
            return self

        @functools.wraps(self._written)
        def method(*arguments: P.args, **named: P.kwargs) -> Any:
            return client._each(self._written(*arguments, **named))

        return method


class Operations:
    """The methods of both clients. What their source gives as Call[X] or Script[X] is X, of AsyncClient awaited; a
    Call[Page[X]] is an iterator of X."""

    send = call(on_sending.send)
    estimate = call(on_sending.estimate)
    otp = call(on_sending.otp)
    verify_otp = call(on_sending.verify_otp)

    get = call(on_messages.get)
    list = call(on_messages.page)
    messages = listing(on_messages.every)
    wait = script(on_messages.wait)
    cancel = call(on_messages.cancel)
    cancel_request = call(on_messages.cancel_request)
    statistics = call(on_messages.statistics)

    upload_batch = call(on_batches.upload_batch)
    batch = call(on_batches.batch)
    batches = listing(on_batches.batches)
    batch_messages = listing(on_batches.batch_messages)
    bad_lines = call(on_batches.bad_lines)
    wait_batch = script(on_batches.wait_batch)

    balance = call(on_money.balance)
    statement = listing(on_money.statement)
    spend = call(on_money.spend)
    prices = listing(on_money.prices)

    opt_outs = listing(on_opt_outs.opt_outs)
    opted_out = script(on_opt_outs.opted_out)
    opt_out = call(on_opt_outs.opt_out)
    opt_in = script(on_opt_outs.opt_in)

    endpoints = call(on_callbacks.endpoints)
    endpoint = call(on_callbacks.endpoint)
    create_endpoint = call(on_callbacks.create_endpoint)
    change_endpoint = call(on_callbacks.change_endpoint)
    remove_endpoint = call(on_callbacks.remove_endpoint)
    rotate_secret = call(on_callbacks.rotate_secret)
    test_endpoint = call(on_callbacks.test_endpoint)
    deliveries = listing(on_callbacks.deliveries)
    replay = call(on_callbacks.replay)

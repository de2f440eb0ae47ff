# ruff: noqa: E501 - programs are text, one to a line
"""Programs that nobody would defend: half-written, dynamic, wrong in types, or right and strange. One for each fault.

They stand on the models and tasks of ``tests/typing/shop.py``. What mypy says of them is not written here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

HEAD: Final = """\
import asyncio, contextlib, dataclasses, enum, functools, itertools, operator, typing
from collections.abc import *
from datetime import timedelta
from typing import *

import cloaca
from pydantic import BaseModel, Field, RootModel, create_model
from returns.result import Failure, Result, Success

from cloaca import *
from cloaca import Retry, Workflow, run, task
from shop import *
"""

# Each stands in a module of its own below ``HEAD``. A line of ``### a name`` begins one.
TEXT: Final = r"""
### tasks that are no functions
a = task(lambda ref: ref)
b = task(functools.partial(fetch, OrderRef(order_id=1)))
c = task(len)
d = task(print, 1)
e = task(None)
f = task()
g = task(name="x")
h = task(1)
i = task(fetch)
j = task(OrderRef)
k = task(task)
l = task("fetch")
m = task([fetch])
n = task(OrderRef.model_validate)
o = task(fetch.function)
Workflow("w", a >> b & c)  # type: ignore
Workflow("w", i >> j)
Workflow("w", k, n)
Workflow("w", o)
### task over what it should not decorate
@task
class K: ...
@task
class M(BaseModel):
    x: int
@task
@task
def twice(ref: OrderRef) -> Order: ...
@task()
@task()
def twice2(ref: OrderRef) -> Order: ...
@task(1, 2, 3)
def three(ref: OrderRef) -> Order: ...
@task(name=1, retry="x", timeout=None, tags=3, nonsense=4)
def wrong(ref: OrderRef) -> Order: ...
@task(**{"name": "x"})
def starred(ref: OrderRef) -> Order: ...
@task(*[])
def starred2(ref: OrderRef) -> Order: ...
Workflow("w", K >> M >> twice >> twice2 >> three >> wrong >> starred >> starred2)
Workflow("w", twice)
Workflow("w", twice2)
Workflow("w", starred, starred2, three, wrong)
### methods
class K:
    @task
    def method(self, ref: OrderRef) -> Order: ...
    @task
    @staticmethod
    def static(ref: OrderRef) -> Order: ...
    @staticmethod
    @task
    def static2(ref: OrderRef) -> Order: ...
    @classmethod
    @task
    def cls(cls, ref: OrderRef) -> Order: ...
    @task
    @classmethod
    def cls2(cls, ref: OrderRef) -> Order: ...
    @property
    @task
    def prop(self) -> Order: ...
    @task
    @property
    def prop2(self) -> Order: ...
    @functools.cached_property
    def flow(self) -> Workflow[OrderRef, Order]:
        return Workflow("w", self.static >> reserve)
    w = Workflow("w", method >> static2)
    def __init__(self) -> None:
        self.g = fetch >> [charge, reserve]
        self.h = self.g >> ship
        Workflow("w", self.h, self.method, self.prop, self.prop2)
Workflow("w", K.method >> K.static >> K.static2 >> K.cls >> K.cls2)
Workflow("w", K().method >> K().g)
Workflow("w", K().static2 >> K().h)
K().static(OrderRef(order_id=1))
### overloads
@overload
@task
def over(ref: OrderRef) -> Order: ...
@overload
@task
def over(ref: Order) -> Order: ...
@task
def over(ref: Any) -> Any: ...
@overload
def over2(ref: OrderRef) -> Order: ...
@overload
def over2(ref: Order) -> Order: ...
@task
def over2(ref): ...
@overload
def plain(ref: OrderRef) -> Order: ...
@overload
def plain(ref: Order, x: int = 1) -> Order: ...
def plain(ref: Any, x: int = 1) -> Any: ...
made = task(plain)
Workflow("w", over >> over2)
Workflow("w", made >> reserve)
Workflow("w", reserve.when(plain))
### generators and coroutines
@task
async def agen(ref: OrderRef) -> AsyncIterator[Order]:
    yield Order(order_id=1, sku="", amount=Decimal(1))
@task
def gen(ref: OrderRef) -> Iterator[Order]:
    yield Order(order_id=1, sku="", amount=Decimal(1))
@task
@contextlib.contextmanager
def manager(ref: OrderRef) -> Iterator[Order]: ...
@task
def coro(ref: OrderRef) -> Coroutine[Any, Any, Order]: ...
@task
def awaitable(ref: OrderRef) -> Awaitable[Order]: ...
@task
async def nested(ref: OrderRef) -> Coroutine[Any, Any, Order]: ...
@task
async def never(ref: OrderRef) -> NoReturn: ...
@task
async def result(ref: OrderRef) -> Result[Coroutine[Any, Any, Order], Declined]: ...
Workflow("w", agen >> gen >> manager >> coro >> awaitable >> nested >> never >> result)
Workflow("w", coro >> reserve)
Workflow("w", nested >> reserve)
### result with too much or too little
@task
def a(ref: OrderRef) -> Result: ...
@task
def b(ref: OrderRef) -> Result[Order]: ...
@task
def c(ref: OrderRef) -> Result[Order, Declined, int]: ...
@task
def d(ref: OrderRef) -> Result[Order, int]: ...
@task
def e(ref: OrderRef) -> Result[Any, Any]: ...
@task
def f(ref: OrderRef) -> Result[Result[Order, Declined], Declined]: ...
@task
def g(ref: OrderRef) -> Success[Order]: ...
@task
def h(ref: OrderRef) -> Failure[Declined]: ...
@task
def i(ref: OrderRef) -> Result[Order, Declined | Payment]: ...
@task
def j(ref: OrderRef) -> Result[None, Never]: ...
@task
def k(ref: OrderRef) -> Result[Order, Declined] | None: ...
@task
def l(ref: OrderRef) -> "Result[Order, 'Declined']": ...
Workflow("w", a >> b.named("b1") >> c.named("c1"))
Workflow("w", d)
Workflow("w", e >> f >> g)
Workflow("w", h >> i & j & k)
Workflow("w", l >> reserve)
### annotations of all kinds
T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)
@task
def a(ref) -> Order: ...
@task
def b(ref: OrderRef): ...
@task
def c(ref: "Undefined") -> "AlsoUndefined": ...
@task
def d(ref: 1) -> 2: ...
@task
def e(ref: OrderRef()) -> [Order]: ...
@task
def f(ref: T) -> T: ...
@task
def g(ref: M) -> M: ...
@task
def h(ref: type[OrderRef]) -> type[Order]: ...
@task
def i(ref: OrderRef | None) -> Order | None: ...
@task
def j(*refs: OrderRef, **more: Order) -> Order: ...
@task
def k(ref: OrderRef, /, x: int = 1, *, y: str = "") -> Order: ...
@task
def l(ref: Annotated[OrderRef, 1]) -> Annotated[Order, 2]: ...
@task
def m(ref: Literal[1]) -> Literal["x"]: ...
@task
def n(ref: tuple[OrderRef, ...]) -> list[Order]: ...
@task
def o(ref: Callable[..., OrderRef]) -> Callable[[], Order]: ...
@task
def p(ref: BaseModel) -> BaseModel: ...
@task
def q(ref: object) -> Never: ...
@task
def r(ref: OrderRef, ref2: OrderRef) -> OrderRef: ...
@task
def s(*, ctx: TaskContext, other: int) -> None: ...
@task
def t(ctx: TaskContext) -> TaskContext: ...
@task
def u(ref: typing.Self) -> typing.Self: ...
@task
def v(ref: Final[OrderRef]) -> ClassVar[Order]: ...
@task
def w(ref: TypeGuard[OrderRef]) -> TypeGuard[Order]: ...
@task
def x(*ref: Unpack[tuple[OrderRef, Order]]) -> Order: ...
Workflow("w", a >> b >> c >> d >> e >> f >> g >> h >> i >> j >> k >> l >> m >> n >> o >> p >> q >> r >> s >> t >> u)
Workflow("w", a, b, c, d, e, f)
Workflow("w", g >> reserve)
Workflow("w", i >> reserve)
Workflow("w", l >> reserve, v, w, x)
### generic and recursive models
T = TypeVar("T")
U = TypeVar("U", bound=BaseModel)
class Box(BaseModel, Generic[T]):
    inside: T
class Pair(Box[T], Generic[T, U]):
    other: U
class Tree(BaseModel):
    left: "Tree | None" = None
    right: Optional["Tree"] = None
    many: "list[Tree]" = []
class Growing(BaseModel, Generic[T]):
    next: "Growing[list[T]] | None" = None
class Loop1(BaseModel):
    other: "Loop2"
class Loop2(BaseModel):
    other: Loop1
Json: TypeAlias = "dict[str, Json] | list[Json] | str"
class Data(BaseModel):
    json: Json
@task
def a(box: Box[int]) -> Box[str]: ...
@task
def b(box: Box[T]) -> Box[T]: ...
@task
def c(box: Box) -> Pair[int, Order]: ...
@task
def d(tree: Tree) -> Tree: ...
@task
def e(growing: Growing[int]) -> Growing[str]: ...
@task
def f(one: Loop1, two: Loop2) -> Loop1: ...
@task
def g(data: Data) -> Data: ...
@task
def h(box: Box[Box[Box[T]]]) -> Pair: ...
Workflow("w", a >> b >> c)
Workflow("w", d)
Workflow("w", e)
Workflow("w", f)
Workflow("w", g, h, a)
Workflow("w", a >> a.named("a2"), input=Box[int])
Workflow("w", b, input=Box)
def inside(x: T) -> T:
    @task
    def local(box: Box[T]) -> Box[T]: ...
    Workflow("w", local)
    return x
### models that are hardly any
class Empty(BaseModel): ...
class Root(RootModel[int]): ...
Made = create_model("Made", x=(int, ...))
class FromMade(Made):
    y: int
class FromAny(Undefined):
    z: int
class FromModule(cloaca):
    z: int
class Self(BaseModel):
    me: "Self"
class Private(BaseModel):
    _x: int = 1
    __y: int = 2
    model_config = 3
class Shadow(BaseModel):
    model_fields: int
    copy: int
    json: str
class Computed(BaseModel):
    @property
    def x(self) -> int: ...
    x: int
class Twice(BaseModel):
    x: int
    x: str
class Deleted(BaseModel):
    x: int
    del x
class Cond(BaseModel):
    if typing.TYPE_CHECKING:
        x: int
    else:
        x: str
    for i in range(3):
        y: int = i
    with open("x") as f:
        z: int
    try:
        w: int
    except Exception:
        w: str
class Meta(BaseModel, metaclass=type, frozen=True, extra="allow"):
    x: int
class Tup(BaseModel, tuple):
    x: int
class Multiple(Order, Payment, Empty):
    pass
class Bad(Order, OrderRef, BaseModel, Order):
    pass
class Star(*[BaseModel]):
    x: int
class Call(make()):
    x: int
class Sub(Order["x"]):
    x: int
class Nested(BaseModel):
    class Inner(BaseModel):
        x: int
    inner: Inner
    lam: Callable[[int], int] = lambda x: x
    x, y = 1, 2
    z: int = z
    a = b = 3
    q: "int" = Field(default_factory=lambda: undefined)
    r: Annotated[int, Field(default=undefined), *[1], 1 + 1, lambda: 3, Reduce(), Reduce(1, 2), Reduce(f=3)]
    s: Annotated
    t: Annotated[int]
    e: Annotated[()]
    v: list[Annotated[int, Reduce(operator.add)], str]
    w: "Annotated[int, Reduce(operator.add)"
    (k): int
    k.j: int
for model in (Empty, Root):
    task(model)
class E(str, enum.Enum):
    A = "a"
    B: int = 3
@task
def a(x: Empty, y: Root) -> Made: ...
@task
def b(x: FromMade) -> FromAny: ...
@task
def c(x: Self) -> Private: ...
@task
def d(x: Shadow) -> Computed: ...
@task
def e(x: Twice) -> Deleted: ...
@task
def f(x: Cond) -> Meta: ...
@task
def g(x: Tup) -> Multiple: ...
@task
def h(x: Bad) -> Star: ...
@task
def i(x: Call) -> Sub: ...
@task
def j(x: Nested) -> Nested.Inner: ...
@task
def k(x: FromModule) -> E: ...
Workflow("w", a >> b >> c >> d >> e >> f >> g >> h >> i >> j >> k)
Workflow("w", a, b, c, d, e, f, g, h, i, j, k)
for each in (a, b, c):
    Workflow("w", each)
Workflow("a", a); Workflow("b", b); Workflow("c", c); Workflow("d", d); Workflow("e", e); Workflow("f", f)
Workflow("g", g); Workflow("h", h); Workflow("i", i); Workflow("j", j); Workflow("k", k)
### forward references
flow = Workflow("w", early >> later)
@task
def early(x: "Later") -> "Later2": ...
@task
def later(x: "Later2") -> "Later": ...
class Later(BaseModel):
    x: "Later2"
class Later2(Later):
    y: int
after = Workflow("w", early >> later)
def f() -> None:
    Workflow("w", graph >> after_f)
@task
def after_f(x: Later) -> Later: ...
graph = early >> later
### tasks in odd places
def outer(flag: bool) -> Any:
    class Local(BaseModel):
        x: int
    @task
    def inner(x: Local) -> Local: ...
    if flag:
        @task
        def maybe(x: Local) -> Local: ...
    else:
        @task
        def maybe(x: Order) -> Local: ...
    w = Workflow("w", inner >> maybe)
    def deeper() -> Any:
        nonlocal w
        w = Workflow("w", inner)
        return inner >> maybe
    return Workflow("w", deeper())
if outer(True):
    @task
    def cond(x: Order) -> Pick: ...
else:
    @task
    def cond(x: OrderRef) -> Pick: ...
try:
    from nowhere import thing
except ImportError:
    @task
    def thing(x: OrderRef) -> Order: ...
class Out:
    class In:
        @task
        def inside(x: OrderRef) -> Order: ...
        g = inside >> reserve
    h = In.g >> [charge]
with contextlib.suppress(Exception):
    @task
    def within(x: OrderRef) -> Order: ...
for _ in range(3):
    @task
    def loop(x: OrderRef) -> Order: ...
    Workflow(f"w{_}", loop >> reserve)
while Workflow("w", fetch >> reserve):
    break
lambda: Workflow("w", fetch >> charge)
assert Workflow("w", fetch >> charge)
[Workflow("w", fetch >> x) for x in (charge, reserve)]
{Workflow("w", fetch >> x): fetch >> x for x in [charge]}
print(Workflow("w", fetch >> charge), file=(fetch >> ship))
Workflow("w", cond >> thing >> within >> loop)
Workflow("w", Out.In.inside >> Out.In.g >> Out.h)
def default(g: Any = fetch >> ship, w: Any = Workflow("w", fetch >> ship)) -> Any:
    global later
    later = fetch >> ship
    yield fetch >> ship
    yield from (fetch >> ship)
    return Workflow("w", later)
async def awaited() -> None:
    await (fetch >> ship)
    async with fetch >> ship: ...
    async for x in fetch >> ship: ...
@(fetch >> ship)
def decorated() -> None: ...
### redefinitions
graph = fetch >> reserve
graph = fetch >> charge
graph = None
graph = fetch
fetch = reserve
@task
def reserve(pick: Order) -> Order: ...
def reserve() -> None: ...
Workflow = Workflow
Workflow("w", graph >> reserve)
del graph
Workflow("w", graph)
del task
@task
def gone(x: Order) -> Order: ...
Task = Task
Task("x")
Task(name="x", function=print)
class Workflow(Workflow): ...
Workflow("w", fetch)
### walrus and friends
if (g := fetch >> reserve) and (w := Workflow("w", (h := g >> (i := charge)))):
    Workflow("w", g & h & i)
Workflow(name := "w", (k := fetch) >> (l := [charge, reserve]) >> ship)
Workflow("w", (fetch, reserve)[0] >> (fetch, reserve)[1])
Workflow("w", (fetch, reserve)[::-1])
Workflow("w", *(fetch, reserve))
Workflow("w", fetch >> (*(charge, reserve),) >> ship)
Workflow("w", fetch >> [*[charge], *(reserve,), *reserve] >> ship)
Workflow("w", fetch >> [] >> ())
Workflow("w", fetch >> [[[charge], (reserve, [ship])]])
Workflow("w", [fetch] >> [charge])
Workflow("w", () >> fetch)
Workflow("w", [[], fetch, None] >> charge)
Workflow("w", fetch if 1 else reserve)
Workflow("w", fetch and reserve or charge)
Workflow("w", not fetch)
Workflow("w", (fetch >> charge,))
Workflow("w", [fetch >> charge])
a, b = fetch >> charge, charge >> fetch
(c, *d), e = (fetch, charge, reserve), ship
Workflow("w", a & b)
Workflow("w", c >> d >> e)
x = y = fetch >> charge
Workflow("w", x >> y)
graph: Graph[OrderRef, Payment] = fetch >> charge
graph2: "Graph[OrderRef]" = fetch >> charge
graph3: Graph = fetch >> charge
graph4: Graph[int, str] = fetch >> charge
graph5: Graph[OrderRef, Payment, int] = fetch >> charge
graph6: Final = fetch >> charge
graph7: Graph[Undefined, Payment] = fetch >> charge
graph8: Graph[OrderRef, Payment, int, str] = fetch >> charge
graph9: Task[OrderRef, Payment] = fetch >> charge
Workflow("w", graph, graph2, graph3, graph4)
Workflow("w", graph5 >> graph6)
Workflow("w", graph7, graph8 >> graph9)
### calls of Workflow
args: list[Any] = []
kw: dict[str, Any] = {}
graphs = [fetch, reserve]
Workflow()
Workflow("w")
Workflow(fetch)
Workflow(fetch, "w")
Workflow("w", *args)
Workflow(*args)
Workflow(**kw)
Workflow("w", *graphs)
Workflow("w", *graphs, fetch, *graphs)
Workflow("w", fetch, **kw)
Workflow(*args, **kw)
Workflow("w", fetch, input=OrderRef, output=Order, nonsense=3)
Workflow("w", fetch, input=OrderRef())
Workflow("w", fetch, input="OrderRef")
Workflow("w", fetch, input=None, output=None)
Workflow("w", fetch, input=int, output=list[int])
Workflow("w", fetch, input=OrderRef | Order)
Workflow("w", fetch, input=type(OrderRef(order_id=1)))
Workflow("w", fetch, input=BaseModel)
Workflow("w", fetch, output=fetch)
Workflow("w", fetch, input=lambda: OrderRef)
Workflow("w", fetch, input=Undefined)
Workflow("w", fetch, input=OrderRef if args else Order)
Workflow(name="w", graph=fetch)
Workflow(1, fetch)
Workflow("w", 1, 2, 3)
Workflow("w", None)
Workflow("w", ...)
Workflow("w", fetch, fetch, fetch)
Workflow("w", Workflow("v", fetch))
Workflow("w", fetch)("x", charge)
Workflow[OrderRef, Order]("w", fetch >> charge)
Workflow[int, str, float]("w", fetch)
Workflow.__init__(Workflow("w", fetch), "v", charge)
make = Workflow
make("w", fetch >> ship)
made = functools.partial(Workflow, "w")
made(fetch >> ship)
cls: type[Workflow[Any, Any]] = Workflow
cls("w", fetch >> ship)
class Mine(Workflow[OrderRef, Order]):
    def __init__(self) -> None:
        super().__init__("mine", fetch >> ship)
Mine()
class MyGraph(Graph[OrderRef, Order]): ...
MyGraph() >> MyGraph()
Workflow("w", MyGraph() >> fetch)
Workflow(("w"), (fetch))
Workflow("w" "v", fetch)
Workflow(f"w{1}", fetch)
getattr(cloaca, "Workflow")("w", fetch >> ship)
cloaca.Workflow("w", fetch >> ship)
Graph()
Graph[OrderRef, Order]()
Graph(1, 2)
Graph() >> Graph() & Graph()
Workflow("w", Graph())
Workflow("w", Graph(), Graph())
Workflow("w", Graph(), input=OrderRef, output=OrderRef)
### operators with anything
fetch >> 1
fetch >> None
fetch >> "charge"
fetch >> print
fetch >> Order
fetch >> ...
fetch >> {charge}
fetch >> {"a": charge}
fetch >> [1, charge]
fetch >> [None]
fetch >> Any
fetch >> (x for x in [charge])
fetch >> undefined
undefined >> fetch
1 >> fetch
None >> fetch
"a" >> fetch
print >> fetch
[undefined] >> fetch
[1] >> fetch
{fetch} >> charge
fetch & 1
fetch & [charge]
[fetch] & charge
fetch & None
fetch & undefined
fetch | charge
fetch << charge
fetch + charge
fetch and charge
-fetch
fetch >> charge >> fetch
fetch >> fetch
fetch >> charge & charge >> fetch
(fetch >> charge) == (charge >> fetch)
fetch < charge
fetch in charge
fetch[0]
for node in fetch >> charge: print(node)
fetch.nothing
fetch.named.x
fetch.__rshift__(charge)
fetch.__rrshift__([charge])
fetch.__rshift__()
fetch.__rshift__(charge, reserve)
fetch.__and__(charge)
Graph.__rshift__(fetch, charge)
operator.rshift(fetch, charge)
functools.reduce(operator.rshift, [fetch, charge])
x = fetch
x >>= charge
x &= reserve
x >>= undefined
x >>= [charge, reserve]
Workflow("w", x)
fetch.graph = 3
fetch(OrderRef(order_id=1))
fetch()
fetch(1, 2, x=3)
fetch(*[1])
fetch(**{})
fetch >> charge >> ship >> (lambda x: x)
Workflow("w", fetch >> charge >> 1 >> None)
### named and on
name: str = "x"
word: Final = "y"
lit: Literal["a", "b"] = "a"
fetch.named()
fetch.named(1)
fetch.named("")
fetch.named(name)
fetch.named(word)
fetch.named(lit)
fetch.named("a", "b")
fetch.named(name="x")
fetch.named(*["x"])
fetch.named(**{"name": "x"})
fetch.named("x").named("y").named("x")
(fetch >> charge).named("x")
fetch.named("x" + "y")
fetch.named(f"{name}")
fetch.named("x\u200by" "\ud800")
fetch.on()
fetch.on("nonsense")
fetch.on(name)
fetch.on(lit)
fetch.on("all_done", "x")
(fetch >> charge).on("all_done")
fetch.into()
fetch.into(1)
fetch.into(name)
fetch.into("x").into("y")
audit.into("x")
fetch.into("order").writing(sku="x")
Workflow("w", fetch.named(name) >> charge.on(lit) >> ship.into(name))
Workflow("w", fetch.named(word) >> charge.named("x\u200by"))
Workflow("w", fetch.into("x") >> charge.reading(order_id="x"))
Workflow("w", fetch.named("fetch/x") >> charge)
### reading and writing
keys: dict[str, str] = {}
key: str = "x"
fetch.reading()
fetch.reading(order_id="x")
fetch.reading(nothing="x")
fetch.reading(order_id=key)
fetch.reading(order_id=1)
fetch.reading(**keys)
fetch.reading(order_id="x", **keys)
fetch.reading("order_id")
fetch.reading(order_id=None)
fetch.reading(order_id="")
fetch.reading(order_id="x").reading(order_id="y")
fetch.reading(order_id="x").reading(x="y")
fetch.writing()
fetch.writing(sku="order_id")
fetch.writing(sku="amount", amount="sku")
fetch.writing(sku="amount")
fetch.writing(nothing="x")
fetch.writing(sku=key)
fetch.writing(**keys)
(fetch >> charge).reading(order_id="x")
fetch.reading(self="x")
Workflow("w", fetch.reading(order_id="sku") >> reserve)
Workflow("w", fetch.reading(nothing="sku") >> reserve.reading(sku="nothing", day="x"))
Workflow("w", fetch.writing(sku="amount") >> reserve)
Workflow("w", fetch.writing(nothing="x") >> reserve, input=OrderRef)
Workflow("w", fetch.reading(order_id=key) >> reserve.writing(shelf=key))
### with_options
options: dict[str, Any] = {}
fetch.with_options()
fetch.with_options(timeout=30)
fetch.with_options(timeout=-1, retry=None, tags=())
fetch.with_options(timeout=30 + 1, retry=Retry(attempts=undefined))
fetch.with_options(retry=Retry(5, "fixed", 1, 2, 3, 4, 5, 6, 7, 8))
fetch.with_options(retry=Retry(*[1], **options))
fetch.with_options(retry=Retry)
fetch.with_options(tags="x")
fetch.with_options(tags=["x", name_of_nothing])
fetch.with_options(**options)
fetch.with_options(nonsense=1)
fetch.with_options(1)
fetch.with_options(timeout=timedelta(seconds=1))
fetch.with_options(timeout=lambda: 1)
fetch.with_options(timeout=(x := 3), retry=[Retry()][0], tags={1: 2})
fetch.with_options(timeout=0x10, tags=(b"x", 1j, ..., None, True))
fetch >> fetch.with_options(timeout=3)
Workflow("w", fetch.with_options(timeout=30), fetch.with_options(timeout=31))
Workflow("w", fetch.with_options(timeout=undefined), fetch.with_options(timeout=options["x"]))
Workflow("w", fetch.with_options(retry=Retry(on=ValueError)), fetch)
### sealed
row: type[OrderRef] = OrderRef
rows: Any = OrderRef
fetch.sealed()
fetch.sealed(OrderRef)
fetch.sealed(OrderRef, Order)
fetch.sealed(None, None)
fetch.sealed(row, row)
fetch.sealed(rows, rows)
fetch.sealed(int, str)
fetch.sealed(OrderRef(order_id=1), Order)
fetch.sealed("OrderRef", "Order")
fetch.sealed(OrderRef | Order, Order)
fetch.sealed(BaseModel, BaseModel)
fetch.sealed(*[OrderRef, Order])
fetch.sealed(OrderRef, Order, Order)
fetch.sealed(input=OrderRef, output=Order)
fetch.sealed(undefined, Order)
fetch.sealed(lambda: OrderRef, Order)
fetch.sealed(OrderRef, Order).sealed(OrderRef, Order).sealed(None, Order)
Graph().sealed(OrderRef, Order)
(fetch >> charge).when(lambda x: True).sealed(OrderRef, Payment).when(lambda x: x.order_id > 1).named("x")
(fetch & charge >> fetch).sealed(OrderRef, Order)
([] >> fetch).sealed(OrderRef, Order)
Workflow("w", fetch.sealed(OrderRef, Order) >> reserve)
Workflow("w", fetch.sealed(row, rows) >> reserve)
Workflow("w", Graph().sealed(OrderRef, Order) >> reserve)
Workflow("w", fetch.sealed(OrderRef, Order).sealed(OrderRef, Order).reading(x="y"))
Workflow("w", fetch.sealed(None, None) >> fetch.sealed(None, None))
### when
class Callable_:
    def __call__(self, order: Order) -> bool: ...
    def method(self, order: Order) -> bool: ...
    @staticmethod
    def static(order: Order) -> bool: ...
    @classmethod
    def cls(cls, order: Order) -> bool: ...
def good(order: Order) -> bool: ...
async def coroutine(order: Order) -> bool: ...
def generator(order: Order) -> Iterator[bool]: ...
def nothing() -> bool: ...
def two(order: Order, pick: Pick) -> bool: ...
def starred(*orders: Order) -> bool: ...
def keyword(*, order: Order) -> bool: ...
def default(order: Order = ..., x: int = 1) -> bool: ...
def unannotated(order): ...
def wrong(order: Undefined) -> bool: ...
def text(order: "Order") -> "bool": ...
def optional(order: Order | None) -> bool: ...
def generic(order: T) -> bool: ...
T = TypeVar("T", bound=BaseModel)
def generic2(order: T) -> bool: ...
@overload
def over(order: Order) -> bool: ...
@overload
def over(order: Pick) -> bool: ...
def over(order: Any) -> bool: ...
@functools.cache
def cached(order: Order) -> bool: ...
reserve.when(good)
reserve.when(Callable_())
reserve.when(Callable_().method)
reserve.when(Callable_.method)
reserve.when(Callable_.static)
reserve.when(Callable_().cls)
reserve.when(Callable_)
reserve.when(coroutine)
reserve.when(generator)
reserve.when(nothing)
reserve.when(two)
reserve.when(starred)
reserve.when(keyword)
reserve.when(default)
reserve.when(unannotated)
reserve.when(wrong)
reserve.when(text)
reserve.when(optional)
reserve.when(generic)
reserve.when(generic2)
reserve.when(over)
reserve.when(cached)
reserve.when(functools.partial(two, pick=1))
reserve.when(lambda: True)
reserve.when(lambda x: x.sku)
reserve.when(lambda x, y: True)
reserve.when(lambda *x: True)
reserve.when(lambda **x: True)
reserve.when(lambda x=1: True)
reserve.when(lambda *, x: True)
reserve.when(lambda x, y=1, *z, **w: True)
reserve.when(lambda x: undefined)
reserve.when(lambda x: (yield))
reserve.when(True)
reserve.when(None)
reserve.when(bool)
reserve.when(reserve)
reserve.when(Order)
reserve.when()
reserve.when(good, good)
reserve.when(predicate=good)
reserve.when(*[good])
reserve.when(undefined)
reserve.when(good if text else nothing)
reserve.when(operator.attrgetter("sku"))
reserve.when([good][0])
reserve.when(good).when(nothing).when(lambda x: True)
Graph().when(good)
Graph().when(lambda x: True)
(fetch & reserve & charge).when(lambda x: x.sku)
ping.when(lambda x: x.sku)
ping.when(good)
Workflow("w", fetch >> reserve.when(good) >> charge.when(coroutine))
Workflow("w", fetch >> reserve.when(two).when(nothing))
Workflow("w", fetch >> (reserve >> charge).when(Callable_().method).when(Callable_()))
Workflow("w", fetch >> reserve.when(unannotated) >> charge.when(lambda x: x.nothing))
Workflow("w", fetch >> reserve.when(generic2))
Workflow("w", reserve.when(good) >> charge.when(good), reserve.when(good))
Workflow("w", fetch >> Graph().when(good))
### other people's methods
fetch.rescue(charge)
fetch.compensate(charge)
fetch.picture()
fetch.structure.nodes
(fetch >> charge).to_mermaid()
fetch.guarded(1)
fetch._changed(name="x")
fetch.signature
fetch.function.x
fetch.cut
Workflow("w", fetch._changed(name="x"))
Workflow("w", fetch.rescue(charge) >> ship)
### types around graphs
class HasGraph(Protocol):
    graph: Graph[OrderRef, Order]
    def make(self) -> Graph[OrderRef, Payment]: ...
G = TypeVar("G", bound=Graph[Any, Any])
H = TypeVar("H", Graph[OrderRef, Order], Task[OrderRef, Order])
I = TypeVar("I")
O = TypeVar("O", bound=BaseModel)
def protocol(p: HasGraph) -> None:
    Workflow("w", p.graph >> p.make() >> reserve)
    p.graph = fetch
    p.graph = fetch >> reserve
def bound(g: G, h: H) -> G:
    Workflow("w", g >> h)
    Workflow("w", g)
    g.when(lambda x: x)
    return g & h
def generic(g: Graph[I, O]) -> Graph[I, Payment]:
    Workflow("w", g)
    Workflow("w", g >> charge)
    return g >> charge
def union(g: Graph[OrderRef, Order] | Task[OrderRef, Order] | None, t: type[Graph[Any, Any]]) -> Graph[OrderRef, Payment]:
    g >> charge
    g & g
    g.named("x")
    Workflow("w", g)
    if g:
        g >> charge
        Workflow("w", g >> charge)
    t() >> t()
    return g
def either(c: bool) -> Graph[OrderRef, Order] | Graph[Order, Payment]:
    g = fetch if c else charge
    h = fetch >> charge if c else charge >> fetch
    Workflow("w", g >> ship)
    Workflow("w", h >> ship)
    g.when(lambda x: True)
    match g:
        case Task() as x:
            Workflow("w", x >> ship)
            return x
        case Graph():
            return g
    return h
def optional(g: Optional[Task[OrderRef, Order]] = None, *gs: Graph[OrderRef, Order], **kw: Task[Any, Any]) -> Any:
    Workflow("w", g >> ship, *gs, **kw)
    Workflow("w", gs[0] >> kw["x"])
    return lambda: g >> gs
def nones() -> Graph[None, None]:
    return ping >> audit
def nothing() -> Graph[OrderRef, Never]:
    return fetch >> audit
def many() -> tuple[Graph[OrderRef, Order], list[Graph[Order, Payment]]]:
    return fetch >> audit, [charge >> ship]
def yields() -> Iterator[Graph[OrderRef, Order]]:
    yield fetch >> audit
async def asyncs() -> Graph[OrderRef, Shipment]:
    return fetch >> audit
def anys(g: Any) -> Any:
    Workflow("w", g >> fetch >> g)
    Workflow(g, g, g, input=g, output=g)
    fetch >> g >> [g, *g]
    return [g] >> fetch
def literal(g: Literal["x"], h: type, i: object, j: Callable[[], Graph[OrderRef, Order]]) -> None:
    Workflow(g, j() >> h >> i)
Alias = Graph[OrderRef, Payment]
Generic_ = Graph[I, Payment]
def aliases(a: Alias, b: Generic_[Order], c: "Generic_") -> Alias:
    Workflow("w", a >> b >> c)
    return fetch >> ship
@dataclasses.dataclass
class Held:
    g: Graph[OrderRef, Order] = fetch
    h: Graph[OrderRef, Order] = fetch >> reserve
    i: Any = dataclasses.field(default=fetch >> reserve)
    j: Graph[OrderRef, Order] = dataclasses.field(default_factory=lambda: fetch >> reserve)
class Tup(NamedTuple):
    g: Graph[OrderRef, Order] = fetch >> reserve
class Dic(TypedDict):
    g: Graph[OrderRef, Order]
Workflow("w", Held().g >> Held().h >> Held().i >> Tup().g >> Dic(g=fetch >> reserve)["g"])
Workflow("w", Tup(fetch >> reserve)[0] >> Dic(g=fetch)["h"])
class Model(BaseModel):
    g: Graph[OrderRef, Order]
    t: Task[OrderRef, Order] = fetch
@task
def modelled(m: Model) -> Model: ...
Workflow("w", modelled)
Workflow("w", cast(Graph[OrderRef, Order], fetch) >> cast("Any", reserve))
Workflow("w", cast(Undefined, fetch) >> reserve)
### running
async def running() -> None:
    w = Workflow("w", fetch >> charge)
    async with Runner("x", workflows=[w]) as runner:
        await runner.run(w)
        await runner.run(w, OrderRef(order_id=1), 2, 3)
        await runner.run(w, input=OrderRef(order_id=1))
        await runner.run(workflow=w, input=1)
        await runner.run()
        await runner.run(*[w])
        await runner.run("w", 1)
        await runner.run(undefined, undefined)
        await runner.run(None, None)
        await runner.start(w, None)
        await runner.start(w, lambda: 1)
        await runner.start(w, OrderRef())
        await runner.start(Workflow("v", ping))
        await runner.start(Workflow("v", ping), OrderRef(order_id=1))
        (await runner.start(w, OrderRef(order_id=1))).context()["x"]
        (await (await runner.start(w, OrderRef(order_id=1))).context())["x"]
run(Workflow("w", fetch), 1)
run(Workflow("w", ping))
run(Workflow("w", ping), None)
run(Workflow("w", ping), OrderRef(order_id=1))
run(Workflow("w", fetch))
run(Workflow("w", fetch), **{})
run(Workflow("w", fetch), *[1])
run(*[Workflow("w", fetch), 1])
run(input=1, workflow=Workflow("w", fetch))
run(fetch, OrderRef(order_id=1))
run("w", OrderRef(order_id=1))
run(run, run)
run(Workflow("w", undefined), OrderRef(order_id=1))
run(cast(Any, 1), 2)
run((w := Workflow("w", fetch)), OrderRef(order_id=1), "x", 3)
match run(Workflow("w", fetch >> charge), OrderRef(order_id=1)):
    case Success(x): x.nothing
    case Failure(y): y.error.nothing
    case z: z
### builders
b = WorkflowBuilder("w", input=OrderRef)
b.add(fetch).add(charge, after=[fetch]).add(1).add(fetch, after=undefined)
b.build().x
WorkflowBuilder()
WorkflowBuilder(1, 2, 3)
WorkflowBuilder("w", input=1).build()
run(b.build(), 1)
WorkflowBuilder.build(b)
### type ignores
Workflow("w", charge >> fetch)  # type: ignore
Workflow("w", charge >> fetch)  # type: ignore[cloaca]
Workflow("w", charge >> fetch)  # type: ignore[cloaca-nonsense]
Workflow("w", charge >> fetch)  # type: ignore[]
Workflow("w", charge >> fetch)  # type: ignore nonsense
Workflow(
    "w",  # type: ignore
    charge  # type: ignore[cloaca-missing-field]
    >> fetch,
)
x = fetch  # type: Graph[OrderRef, Order]
y = []  # type: list[Task[Any, Any]]
def f(g):
    # type: (Graph[OrderRef, Order]) -> Graph[OrderRef, Payment]
    return g >> charge
### reveals and unreachable code
reveal_type(fetch)
reveal_type(fetch >> charge)
reveal_type(fetch >> undefined)
reveal_type(Workflow("w", fetch >> charge))
reveal_type(Workflow)
reveal_type(fetch.__rshift__)
reveal_type(fetch.when)
reveal_type(task)
reveal_type(Graph)
reveal_locals()
assert_type(fetch >> charge, Graph[OrderRef, Payment])
assert_never(fetch)
if TYPE_CHECKING:
    Workflow("w", charge >> fetch)
else:
    Workflow("w", charge >> fetch)
if False:
    Workflow("w", charge >> fetch)
def f() -> NoReturn:
    raise Exception
    Workflow("w", charge >> fetch)
f()
Workflow("w", charge >> fetch)
### deferred
def use() -> None:
    Workflow("w", late_graph >> late_task)
    late_graph.named("x")
    run(late_flow, 1)
class Attr:
    def __init__(self) -> None:
        self.g = self.h >> charge
        self.h = fetch >> self.i
        self.i = self.make()
    def make(self):
        return self.g
    def flow(self) -> Any:
        return Workflow("w", self.g >> self.h >> self.i)
late_flow = Workflow("w", Attr().g >> Attr().h)
late_graph = fetch >> Attr().i
@task
def late_task(o: Order) -> Order:
    return Workflow("w", late_graph >> late_task).x
a = b >> fetch
b = c >> charge
c = a >> ship
Workflow("w", a & b & c)
"""

HALF_WRITTEN: Final = (
    "fetch >>",
    "Workflow(",
    'Workflow("w", fetch >> [charge,',
    "@task\n",
    "@task\ndef f(",
    "@task\ndef f(x: ) -> : ...",
    "fetch >> >> charge",
    "fetch. >> charge",
    "class M(BaseModel):\n    x:\n    y: int =\n",
    'Workflow("w", fetch >> charge',
    "reserve.when(lambda x:)",
    "x = \x00",
)


def programs() -> Mapping[str, str]:
    """Return the programs by names that are names of modules."""
    parts = TEXT.split("### ")[1:]
    return {
        part.partition("\n")[0].replace(" ", "_").replace("'", ""): HEAD + part.partition("\n")[2] for part in parts
    }


# Modules that import each other, that fail to import, and that others' stars hide behind.
CYCLE: Final[Mapping[str, str]] = {
    "cycle_one": HEAD
    + "from cycle_two import second, Two, pair\n\n\nclass One(BaseModel):\n    one: int\n    two: 'Two'\n\n\n"
    "@task\ndef first(x: 'Two') -> One: ...\n\n\nflow = Workflow('w', second >> first)\nWorkflow('v', pair >> first)\n",
    "cycle_two": HEAD
    + "import cycle_one\nfrom cycle_one import first, One, flow\n\n\nclass Two(BaseModel):\n    two: int\n    one: 'One'\n\n\n"
    "@task\ndef second(x: One) -> Two: ...\n\n\npair = first >> second\nWorkflow('w', cycle_one.first >> second >> pair)\nrun(flow, 1)\n",
    "star": "from cycle_one import *\nfrom cycle_two import *\nfrom nowhere import *\n\nWorkflow('w', first >> second >> third)\n",
    "failing": HEAD + "import nowhere\nfrom nowhere import model, Base, job, Flow\nfrom shop import nothing\n\n\n"
    "class M(Base):\n    x: nowhere.Type\n    y: Annotated[nowhere.Type, nowhere.mark()]\n\n\n@task\ndef f(m: M) -> model: ...\n\n\n"
    "Workflow('w', f >> job >> nothing)\nFlow('w', f)\nWorkflow('w', f)\nWorkflow('w', fetch >> f.when(nowhere.x))\n",
    "aliases": "import cloaca as c\nfrom cloaca import Workflow as W, task as t, Graph as G\nfrom shop import *\nimport shop\n\nu = t\n\n\n"
    "@t\ndef a(x: shop.Order) -> shop.Pick: ...\n@c.task\ndef b(x: shop.Order) -> shop.Pick: ...\n@u\ndef d(x: shop.Order) -> shop.Pick: ...\n"
    "options = t(timeout=3)\n@options\ndef e(x: shop.Order) -> shop.Pick: ...\n@options()\ndef f(x: shop.Order) -> shop.Pick: ...\n"
    "@options(name='x')\ndef g(x: shop.Order) -> shop.Pick: ...\n"
    "W('w', a >> b >> d)\nc.Workflow('w', shop.fetch >> a)\nX = W\nX('w', e >> f >> g)\n(lambda: W)()('w', b)\n",
    "deep": HEAD
    + f"Workflow('w', {' >> '.join(f'fetch.named({chr(34)}n{i}{chr(34)})' for i in range(200))})\n"
    + f"Workflow('v', fetch >> {'[' * 40}charge{']' * 40} >> ship)\n"
    + f"g0 = fetch & charge\n{''.join(f'g{i + 1} = g{i} & g{i}{chr(10)}' for i in range(8))}Workflow('u', g8)\n"
    + f"s = fetch{'.sealed(OrderRef, Order)' * 30}\nWorkflow('s', s)\nc = reserve{'.when(lambda x: True)' * 60}\nWorkflow('c', c)\n",
    "untyped": "# mypy: allow-untyped-defs, check-untyped-defs\n"
    + HEAD
    + "@task\ndef a(x): ...\n@task\ndef b(x: Order): ...\ndef c(g, h):\n    w = Workflow('w', g >> h)\n    return w\nWorkflow('w', a >> b)\nc(a, b)\n",
    "unchecked_untyped": "# mypy: allow-untyped-defs, no-check-untyped-defs\n"
    + HEAD
    + "def c(g, h):\n    w = Workflow('w', charge >> fetch)\n    @task\n    def t(x: Order) -> Pick: ...\n    return Workflow('v', t >> fetch)\n",
}

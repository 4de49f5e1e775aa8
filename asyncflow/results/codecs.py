"""How a value becomes bytes: JSON for plain data, tagged JSON for typed data, signed pickle for the rest."""

from __future__ import annotations

import io
import json
import pickle
import zlib
from collections.abc import Callable
from types import CoroutineType
from typing import Any

from ..core.canonical import Walk
from ..core.naming import main_name, qualified_name, resolve_name
from ..exceptions import InvalidOption, ResultError, UndecodableResult, UnstorableResult
from ..specs import SERIALIZERS
from .envelope import Keys
from .tagged import BIG, MAX_CONTAINERS, MAX_DEPTH, Tagger, untag

PLAIN, TAGGED, PICKLE, COMPRESSED = "json", "json+tags", "pickle", "compressed/"


def _encoder() -> Callable[[Any], str]:
    """JSON text of plain data. The standard encoder builds a C encoder per call; this one keeps a single one."""
    whole = json.JSONEncoder(ensure_ascii=False, check_circular=False, allow_nan=False, separators=(",", ":"))
    make: Any = getattr(json.encoder, "c_make_encoder", None)
    chunks: Any = None
    try:
        chunks = make(None, whole.default, json.encoder.encode_basestring, None, ":", ",", False, False, False)
        works = "".join(chunks([1.5, {"a": "b"}], 0)) == '[1.5,{"a":"b"}]'
    except TypeError:
        works = False
    return (lambda value: "".join(chunks(value, 0))) if works else whole.encode


to_json = _encoder()
_COMPARED_SIZE = 256 << 20
_ATOMS = frozenset({str, bool, float, type(None)})  # whether a float is finite, the encoder sees


def check_serializer(serializer: str | None) -> str | None:
    """A serializer's name, if there is such a one; None lets each value choose. Raises `InvalidOption`."""
    if serializer is not None and serializer not in SERIALIZERS:
        names = ", ".join(sorted(SERIALIZERS))
        raise InvalidOption(f"result_serializer={serializer!r} is unknown; it may be one of {names}, or None")
    return serializer


def encode(value: Any, keys: Keys, serializer: str | None = None) -> tuple[str, bytes]:
    """The codec's name and the bytes of a value, which `decode` turns into an equal value of the same types.

    Raises `UnstorableResult` naming the type that has no such form and where it is, and `InvalidOption`.
    """
    check_serializer(serializer)
    name = serializer.removeprefix(COMPRESSED) if serializer else None
    try:
        codec, data = _encode(value, keys, name)
    except ResultError:
        raise
    except Exception as error:
        raise UnstorableResult(f"a {_named(value)} cannot be stored: {_brief(error)}") from error
    if serializer is not None and serializer != name:
        return COMPRESSED + codec, zlib.compress(data)
    return codec, data


def decode(codec: str, data: bytes, keys: Keys) -> Any:
    """The value of these bytes. Raises `UndecodableResult` or `ResultTampered`."""
    try:
        if codec == PLAIN:
            return json.loads(data.decode("utf-8", "surrogatepass"))
        if codec == TAGGED:
            return untag(json.loads(data.decode("utf-8", "surrogatepass")))
        if codec == PICKLE:
            return _unpickle(keys.unseal(data))
        if codec.startswith(COMPRESSED):
            return decode(codec.removeprefix(COMPRESSED), zlib.decompress(data), keys)
    except ResultError:
        raise
    except Exception as error:
        raise UndecodableResult(f"a stored value cannot be read: {_brief(error)}") from error
    raise UndecodableResult(f"a value was stored with codec {codec[:80]!r}, which this version does not know")


def _encode(value: Any, keys: Keys, name: str | None) -> tuple[str, bytes]:
    if name != "pickle":
        text = plain_text(value)
        if text is not None:
            return PLAIN, to_bytes(text)
        try:
            return TAGGED, _tagged(value)
        except (ResultError, RecursionError) as error:
            if name is not None:
                raise UnstorableResult(f"serializer 'json' cannot store this value: {_brief(error)}") from error
    return PICKLE, keys.seal(_pickled(value))


def to_bytes(text: str) -> bytes:
    """The text in UTF-8, lone surrogates included."""
    try:
        return text.encode()  # faster than with an error handler, which almost no text needs
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


def plain_text(value: Any) -> str | None:
    """The JSON of a value that plain JSON gives back exactly; None for any other."""
    try:
        return to_json(value) if type(value) in _ATOMS or _is_plain(value) else None
    except (ValueError, RuntimeError):  # NaN or an infinity; another thread changes the value
        return None


def _is_plain(value: Any) -> bool:
    pending = [(value, 0)]
    for count, (item, depth) in enumerate(pending):  # grows while it is read
        inner = _inner(item)
        if inner is None or depth > MAX_DEPTH or count > MAX_CONTAINERS:
            return False
        for each in inner:
            cls = type(each)
            if cls in _ATOMS or (cls is int and -BIG < each < BIG):
                continue
            pending.append((each, depth + 1))
    return True


def _inner(item: Any) -> Any:
    """What a plain list or dict holds; None for what is neither."""
    cls = type(item)
    if cls is list:
        return item
    if cls is dict:
        for key in item:
            if type(key) is not str:
                return None
        return None if "$" in item else item.values()
    return () if cls is int and -BIG < item < BIG else None


def _tagged(value: Any) -> bytes:
    tagger = Tagger()
    data = to_bytes(to_json(tagger.tag(value)))
    if tagger.typed:
        _check(value, untag(json.loads(data.decode("utf-8", "surrogatepass"))))
    return data


def _check(value: Any, back: Any) -> None:
    """Refuse a codec that did not give back what it was given."""
    if type(back) is not type(value):
        raise UnstorableResult(f"a {_named(value)} comes back as a {_named(back)}")
    key = b"compare"
    try:
        before = Walk(None, key, _COMPARED_SIZE, MAX_CONTAINERS).text(value)
    except Exception:  # no content of its own to compare, or too much of it: its type must do
        return
    try:
        after = Walk(None, key, _COMPARED_SIZE, MAX_CONTAINERS).text(back)
    except Exception:
        after = None
    if before != after:
        raise UnstorableResult(f"a {_named(value)} does not come back equal")


class _Pickler(pickle.Pickler):
    """Writes what was made in `__main__` under the name that other processes know it by."""

    def reducer_override(self, obj: Any) -> Any:
        if getattr(obj, "__module__", None) in ("__main__", "__mp_main__") and hasattr(obj, "__qualname__"):
            return resolve_name, (qualified_name(obj),)
        return NotImplemented


class _Unpickler(pickle.Unpickler):
    """Finds in `__main__` what a worker stored after it had imported this script as a module."""

    def find_class(self, module: str, name: str) -> Any:
        if module == main_name():
            return resolve_name(f"{module}:{name}")
        return super().find_class(module, name)


def _pickled(value: Any) -> bytes:
    try:
        data = pickle.dumps(value, protocol=5)
        if b"_main__" in data:
            buffer = io.BytesIO()
            _Pickler(buffer, protocol=5).dump(value)
            data = buffer.getvalue()
        back = _unpickle(memoryview(data))
    except Exception as error:
        path, culprit = _culprit(value)
        if isinstance(culprit, CoroutineType):
            raise UnstorableResult(
                f"a coroutine of {culprit.__qualname__}() at result{path} cannot be stored; "
                "probably an `await` was forgotten"
            ) from error
        raise UnstorableResult(
            f"a {_named(culprit)} at result{path} cannot be stored: {_brief(error)}; "
            "return plain data, a model or something picklable"
        ) from error
    _check(value, back)
    return data


def _unpickle(payload: memoryview) -> Any:
    try:
        return _Unpickler(io.BytesIO(payload)).load()
    except (AttributeError, ImportError, LookupError) as error:
        raise UndecodableResult(f"a stored value's type is gone: {error}") from error


def _culprit(value: Any) -> tuple[str, Any]:
    """Where in a value the part is that cannot be pickled, and that part."""
    path = ""
    for _ in range(20):
        for step, part in _parts(value):
            if not _picklable(part):
                path, value = path + step, part
                break
        else:
            break
    return path, value


def _parts(value: Any) -> list[tuple[str, Any]]:
    try:
        if isinstance(value, dict):
            return [(f"[{_short(key)}]", item) for key, item in list(dict.items(value))[:1000]]
        if isinstance(value, (list, tuple)):
            return [(f"[{index}]", item) for index, item in enumerate(value[:1000])]
        own = object.__getattribute__(value, "__dict__")
        return [(f".{name}", item) for name, item in own.items()] if isinstance(own, dict) else []
    except Exception:
        return []


def _short(key: Any) -> str:
    return repr(key)[:40] if type(key) in (str, int) else f"<{_named(key)}>"


def _picklable(value: Any) -> bool:
    try:
        pickle.dumps(value, protocol=5)
    except Exception:
        return False
    return True


def _named(value: Any) -> str:
    return qualified_name(type(value)).replace(":", ".")


def _brief(error: BaseException) -> str:
    try:
        return f"{type(error).__name__}: {error}"[:300]
    except Exception:
        return type(error).__name__

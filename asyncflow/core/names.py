"""What flows, tasks and runs are called when nobody says."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from typing import Any, Final

from ..exceptions import InvalidName, UnnamedCallable

BANNED: Final = "/%&><"
LONGEST_RUN_NAME: Final = 200
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]+")

_ADJECTIVES: Final = """
    able agile airy alert amber ample apt azure balmy bold brave breezy bright brisk bubbly calm candid careful
    cheerful clever coral cosy courteous crimson crisp curious dapper daring dazzling deft diligent eager earnest
    easy elegant fair fearless fluent fond frank free fresh friendly gentle gifted glad gleaming golden graceful
    grand grateful handy happy hardy hearty helpful honest hopeful humble jolly jovial joyful keen kind lively loyal
    lucid lucky lunar mellow merry mighty mild mindful modest neat nifty nimble noble patient peaceful playful
    plucky polite prompt proud quick quiet radiant rapid ready robust rosy sage serene sincere smart snug solar
    sparkling spirited spry steady sturdy sunny swift tender thankful tidy tranquil trusty upbeat valiant velvet
    vivid warm whimsical willing winsome wise witty zesty
"""
_ANIMALS: Final = """
    albatross alpaca antelope axolotl badger beaver bison bluebird bobcat bumblebee butterfly camel capybara cardinal
    caribou caracal cheetah chickadee chinchilla chipmunk cicada condor coyote crane cricket curlew dolphin donkey
    dormouse dove dragonfly eagle egret eland elk ermine falcon ferret finch firefly flamingo fox gazelle gecko gibbon
    giraffe goldfinch goose gopher grebe greyhound grouse hamster hare hawk hedgehog heron hoopoe hummingbird husky
    ibex ibis iguana impala jackdaw jaguar jay jellyfish kestrel kingfisher kiwi koala kudu ladybird lark lemur
    leopard linnet llama lobster loon lynx macaw magpie manatee marmot marten meerkat merlin mongoose moose narwhal
    newt nightingale numbat ocelot octopus okapi oriole osprey otter owl panda panther parrot partridge pelican
    penguin petrel pheasant piglet platypus plover pony puffin quail quokka rabbit raccoon raven reindeer robin
    sandpiper seahorse seal shrew skylark sparrow squirrel starling stork swallow swan tamarin tapir tern
    terrapin thrush tortoise toucan turtle vicuna vole wallaby walrus warbler weasel whale wombat woodpecker wren
    yak zebra
"""
ADJECTIVES: Final = tuple(_ADJECTIVES.split())
ANIMALS: Final = tuple(_ANIMALS.split())


def run_name(source: random.Random) -> str:
    """A readable name for a run, such as `nimble-falcon`. Names may repeat; ids do not."""
    return f"{source.choice(ADJECTIVES)}-{source.choice(ANIMALS)}"


def default_flow_name(fn: Callable[..., Any]) -> str:
    """`my_function` -> `my-function`. Raises `UnnamedCallable` for a callable that has no name of its own."""
    return default_task_name(fn).replace("_", "-")


def default_task_name(fn: Callable[..., Any]) -> str:
    """The function's own name. Raises `UnnamedCallable` for a callable that has none, such as a lambda."""
    name = getattr(fn, "__name__", None)
    if not isinstance(name, str) or name == "<lambda>":
        raise UnnamedCallable(f'{fn!r} has no name to be called by; pass name="..." beside it.')
    return checked_name(name, "function")


def checked_name(name: Any, noun: str) -> str:
    """The name, if names may be so; else `InvalidName` that says what is wrong with this one."""
    if not isinstance(name, str) or not name.strip():
        raise InvalidName(f"A {noun} was named {name!r}; a name is text and not empty.")
    banned = [character for character in BANNED if character in name]
    if banned:
        raise InvalidName(f"The {noun} name {name!r} holds {' '.join(banned)}; names may not hold / % & > or <.")
    return name


def storable(text: str) -> str:
    """The text as every database takes it: NULs and lone surrogates are spelled out as escapes."""
    if not text.isascii():
        text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return text.replace("\0", "\\x00") if "\0" in text else text


def shortened(name: str) -> str:
    """A run's name on one line, at most 200 characters long."""
    name = _CONTROL.sub(" ", storable(name)).strip()
    return name if len(name) <= LONGEST_RUN_NAME else name[: LONGEST_RUN_NAME - 1] + "…"

"""The searches for what breaks the rules of the data: docs/reference/model.md, "The data"."""

from __future__ import annotations

from dataclasses import replace

from tests.model.run import Run

__all__ = ["TAKEOVER_RUNS"]

_ONE = "one joins"
_TWO = "two join"


def _run(
    name: str,
    bounds: str,
    defines: str = "",
    *,
    nodes: int = 4,
    replicas: int = 3,
    newcomers: int = 1,
    versions: int = 1,
    writers: int = 1,
    crashes: int = 0,
    losses: int = 0,
    pulls: int = 0,
    quick: bool = False,
) -> Run:
    counts = {
        "REPLICAS": replicas,
        "NEWCOMERS": newcomers,
        "VERSIONS": versions,
        "WRITERS": writers,
        "CRASHES": crashes,
        "LOSSES": losses,
        "PULLS": pulls,
    }
    return Run(
        name=name,
        bounds=bounds,
        nodes=nodes,
        model="takeover",
        copies=f"n = {replicas}",
        defines=" ".join([*(f"-D{key}={value}" for key, value in counts.items()), defines]),
        options="-m1000000 -w24",
        quick=quick,
        memory_mib=3000,
    )


def _breaks(
    defect: str,
    bounds: str,
    *,
    crashes: int = 0,
    losses: int = 0,
    pulls: int = 0,
    nodes: int = 4,
    newcomers: int = 1,
    shortest: bool = True,
) -> Run:
    """What is to break; where that does not take long, found by the shortest way."""
    name = f"takeover:{defect.split()[-1].lower().replace('_', '-')}"
    defines = " ".join(f"-D{each}" for each in defect.split())
    run = _run(name, bounds, defines, crashes=crashes, losses=losses, pulls=pulls, nodes=nodes, newcomers=newcomers)
    return replace(run, breaks=True, search="-DBFS" if shortest else "", quick=shortest)


# What a cure would change, which is not in the code.
_SIDE_BY_SIDE = [
    _run(
        "side-by-side",
        f"{_TWO}, and leave each other out; one of the old crashes for good: all can write",
        "-DSIDE_BY_SIDE -DPROMPT -DMORTALS=OLD -DDOWN_FOR_GOOD",
        nodes=5,
        newcomers=2,
        crashes=1,
    ),
    _breaks("MORTALS=OLD DOWN_FOR_GOOD PROMPT", f"{_TWO}, one of the old is down: as it is", nodes=5, newcomers=2, crashes=1),
    _breaks(
        "SIDE_BY_SIDE BESIDE_ANYBODY", "whoever hands over without authority is left out", nodes=5, newcomers=2, losses=1, shortest=False
    ),
    _breaks("SIDE_BY_SIDE LIVES_ALIKE", "two lives of a newcomer are not told apart", nodes=5, newcomers=2, losses=1, shortest=False),
]

TAKEOVER_RUNS = [
    _run("takeover-4", f"{_ONE}; two versions; every page takes time, and so do reads", "-DSLOW_READER", versions=2, pulls=9, quick=True),
    _run("takeover-4-crash", f"{_ONE}; one crash; a pull takes time", crashes=1, pulls=1),
    _run("takeover-4-reads", f"{_ONE}; one crash; reads take time", "-DSLOW_READER", crashes=1),
    _run(
        "takeover-4-drop", f"{_ONE}; two versions; one crash; displaced copies are dropped", "-DDROPPING", versions=2, crashes=1, quick=True
    ),
    _run("takeover-4-loss", f"{_ONE}; one crash, and one with its disk", crashes=1, losses=1),
    _run("takeover-4-writers", f"{_ONE}; two writers at once", versions=2, writers=2),
    _run("takeover-4-forget", f"{_ONE}; one crash; who is down may be forgotten", "-DFORGETTING", crashes=1),
    _run("slide-4", "three and one that slides in; one crash; who is down may be forgotten", "-DFORGETTING", newcomers=0, crashes=1),
    _run("takeover-4-saving", f"{_ONE}; one crash; who is not handed a page is saved later", "-DSAVING", crashes=1, quick=True),
    _run("takeover-5", f"{_TWO}", nodes=5, newcomers=2, quick=True),
    _run("takeover-5-crash", f"{_TWO}; one crashes for good", "-DDOWN_FOR_GOOD", nodes=5, newcomers=2, crashes=1),
    _run("takeover-3", f"{_ONE}; one crash", nodes=3, replicas=2, crashes=1, pulls=1),
    _run("takeover-n4", f"{_ONE}; one crash", nodes=5, replicas=4, crashes=1),
    _breaks("NOT_NAMED", "nobody names who takes over"),
    _breaks("NAMED_LAST", "a source counts who takes over from the last page on", pulls=9),
    _breaks("ONE_SOURCE_LESS", "W - 1 sources are enough"),
    _breaks("UNVERIFIED", "a page counts that was not verified"),
    _breaks("WRITER_DEAF", "a writer does not listen to who is named"),
    _breaks("READER_DEAF", "a reader does not listen to who is named"),
    _breaks("ONE_ANSWER_LESS", "a reader asks V - 1"),
    _breaks("ANYBODY_STORES", "acknowledgements count without authority"),
    _breaks("ANYBODY_ANSWERS", "answers count without authority"),
    _breaks("DROPPING DROP_AT_ONCE", "a displaced copy is dropped at once", losses=1),
    _breaks("EMPTY_SPEAKS", "who lost its disk speaks at once", losses=1),
    _breaks("OWN_VOTE", "who lost its disk counts itself among its sources", losses=1),
    _breaks("KNOWN_IGNORED", "who lost its disk does not learn that it was counted", losses=1, newcomers=0),
    _breaks("FORGETTING FORGET_AT_ONCE", "who is silent is counted no more without an exchange", crashes=1, newcomers=0),
    _breaks("SAVING UNSAVED", "a source hands over before it has saved whom it counts", crashes=1),
    _breaks("LOSS_IN_PUT", "a holder loses its disk and is back within one put", losses=1),
    _breaks("LOSS_IN_TAKEOVER", "a source loses its disk and is back within one takeover", losses=1),
    *_SIDE_BY_SIDE,
]

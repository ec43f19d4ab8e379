"""Which `--retrieve_method` a check recommends, and why: pure."""

from __future__ import annotations

from dataclasses import dataclass

from pacsifier.checkup.gets import Got


@dataclass(frozen=True)
class Untried:
    """Why images were not fetched in a way ("": they were); `possible`: it can be tried all the same."""

    why: str = ""
    possible: bool = True


def recommended(
    moved: bool | None, got: Got, no_move: Untried = Untried(), no_get: Untried = Untried()
) -> tuple[str | None, str]:
    """The method, None where none can be recommended, and the reason.

    `moved`: whether images came by C-MOVE; None: it was not tried.
    """
    silent = "C-GET was not tried" if no_get.why else "C-GET brought nothing"
    by_get = {True: "C-GET works too", False: "C-GET does not work", None: silent}[got.came]
    if moved:
        return "move", f"images come by C-MOVE, which most archives send as they hold them; {by_get}"
    if got.came:
        tried = "brought nothing" if moved is False else f"was not tried ({no_move.why})"
        return "get", f"images come by C-GET; C-MOVE {tried}"
    if moved is False:
        return None, f"C-MOVE brought nothing, and {by_get}; what to do stands above"
    return _without_an_image(got, no_move, no_get, by_get)


def _without_an_image(got: Got, no_move: Untried, no_get: Untried, by_get: str) -> tuple[str | None, str]:
    """The method where none was seen to bring anything."""
    by_get_perhaps = no_get.possible and got.came is not False
    if no_move.possible and by_get_perhaps:
        return "auto", f"{no_move.why}; auto tries C-MOVE, then C-GET where nothing comes"
    if no_move.possible:
        return "move", f"{by_get}; C-MOVE was not tried ({no_move.why})"
    if by_get_perhaps and got.offered:
        return "get", f"the PACS offers C-GET; C-MOVE was not tried ({no_move.why})"
    return None, no_move.why

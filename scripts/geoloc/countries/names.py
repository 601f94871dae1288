"""English names of countries by ISO code, and ISO codes by the names of folders."""

from __future__ import annotations

import csv
import difflib
import logging
import re
import unicodedata
from functools import cache
from pathlib import Path

from geoloc.errors import InputError

DATA = Path(__file__).parent / "data"
DISPLAY_NAMES, OTHER_NAMES = DATA / "display_names.csv", DATA / "country_names.csv"
NOT_FOUND = "not found"


@cache
def _converter():
    import country_converter

    logging.getLogger("country_converter").setLevel(logging.CRITICAL)
    return country_converter.CountryConverter()


@cache
def _spelling() -> dict[str, str]:
    """Return the names that the study spells differently from country_converter, by ISO code."""
    return dict(_rows(DISPLAY_NAMES))


def _rows(path: Path) -> list[tuple[str, str]]:
    """Read ISO code and name from each row of a table of names."""
    with path.open(encoding="utf-8", newline="") as file:
        return [(row["country"], row["name"]) for row in csv.DictReader(file)]


@cache
def display_name(country: str) -> str:
    """Return the English name of an ISO 3166-1 alpha-2 code, as the study spells it.

    These names are also the captions and prompts of the CLIP models.

    Raises:
        InputError: if the code does not exist.
    """
    if country in _spelling():
        return _spelling()[country]
    name = _converter().convert(country, src="ISO2", to="name_short", not_found=NOT_FOUND)
    if name == NOT_FOUND or len(country) != 2:
        raise InputError(f"{country!r} is not an ISO 3166-1 alpha-2 country code")
    return name


def name_key(name: str) -> str:
    """Return a key that is equal for all spellings of a name.

    Case, accents, punctuation, `_` and "the" are ignored, and `St` means `Saint`.
    """
    plain = unicodedata.normalize("NFKD", name).casefold()
    plain = "".join(c for c in plain if not unicodedata.combining(c)).replace("&", " and ")
    words = re.sub(r"\W|_", " ", re.sub(r"['’`.]", "", plain)).split()  # d'Ivoire, U.S.A.
    return " ".join("saint" if word == "st" else word for word in words if word != "the")


def _turned(name: str) -> str:
    """Turn `Korea, South` and `Korea (South)` into `South Korea`; keep any other name."""
    head, mark, tail = name.replace("(", ",").partition(",")
    return f"{tail} {head}" if mark and "," not in tail else name


@cache
def _known_names() -> dict[str, frozenset[str]]:
    """Return ISO codes by the key of each name: the study's names, the short and official ones of
    country_converter, and those of data/country_names.csv."""
    table = _converter().data
    rows = [*_spelling().items(), *_rows(OTHER_NAMES)]
    for iso3, short, official in zip(
        table.ISO3, table.name_short, table.name_official, strict=True
    ):
        code = _codes()[iso3]
        rows += [(code, short), (code, official)]
    names: dict[str, set[str]] = {}
    for code, name in rows:
        names.setdefault(name_key(name), set()).add(code)
    return {key: frozenset(codes) for key, codes in names.items()}


@cache
def _codes() -> dict[str, str]:
    """Return two-letter codes by three-letter codes. The table has patterns like `^GR$|^EL$`."""
    table = _converter().data
    two = table.ISO2.str.extract("([A-Z]{2})", expand=False)
    return dict(zip(table.ISO3, two, strict=True))


def _countries_of_name(name: str) -> frozenset[str]:
    """Return the ISO codes of the countries that a whole name, or a code, can mean."""
    name = name.strip()
    exact = {code for code, spelled in _spelling().items() if spelled == name}
    if exact:
        return frozenset(exact)
    if re.fullmatch("[A-Za-z]{2}", name) and not name.istitle():
        code = _converter().convert(name, src="ISO2", to="ISO2", not_found=NOT_FOUND)
    elif re.fullmatch("[A-Z]{3}", name):  # in capitals: a folder `png` holds PNG files
        code = _codes().get(name, NOT_FOUND)
    else:
        code = NOT_FOUND
    if code != NOT_FOUND:
        return frozenset([code])
    keys = (name_key(name), name_key(_turned(name)), name_key(name).removeprefix("republic of "))
    return next((_known_names()[key] for key in keys if key in _known_names()), frozenset())


@cache
def country_of_name(name: str) -> str:
    """Return the ISO 3166-1 alpha-2 code of an English country name or an ISO code.

    `NA` is Namibia. The whole name must be known. Case, accents, punctuation and "the" are ignored;
    three-letter codes must be in capitals.

    Raises:
        InputError: if the name is unknown or can mean several countries.
    """
    found = _countries_of_name(unicodedata.normalize("NFC", name))
    if len(found) == 1:
        return next(iter(found))
    if found:
        choices = " or ".join(f"{display_name(code)} ({code})" for code in sorted(found))
        raise InputError(f"{name!r} can mean {choices}; rename the folder to one of them")
    raise InputError(
        f"{name!r} is not the name of a country{_suggestion(name)}; rename the folder to an "
        "English country name or an ISO 3166-1 code"
    )


def _suggestion(name: str) -> str:
    """Return a known name with a similar spelling, in parentheses, or ""."""
    capitals = name.strip().upper()
    if capitals in _codes():
        return f" (write three-letter codes in capitals: {capitals})"
    if near := difflib.get_close_matches(name_key(name), _known_names(), n=1, cutoff=0.8):
        return f" (did you mean {', '.join(map(display_name, sorted(_known_names()[near[0]])))}?)"
    return ""


@cache
def region(country: str) -> str:
    """Return the region of the United Nations, such as Western Europe, of an ISO code; "Other" if
    it is in none."""
    found = _converter().convert(country, src="ISO2", to="UNregion", not_found=NOT_FOUND)
    return "Other" if found == NOT_FOUND else str(found)

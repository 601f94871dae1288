"""The web application of `geoloc explore`: answers to GET requests of this machine only."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from geoloc.countries.names import display_name
from geoloc.errors import GeolocError
from geoloc.explore.details import Details
from geoloc.explore.images import STREET
from geoloc.explore.pictures import Pictures
from geoloc.explore.relevance import Relevance
from geoloc.explore.requests import (
    ANSWERS,
    Query,
    Refused,
    choose,
    refuse_others,
    whole_number,
)
from geoloc.explore.run import FinishedRun

log = logging.getLogger(__name__)

HOSTS = ["127.0.0.1", "localhost"]
PAGE_SIZE = 48
PAGE = Path(__file__).parent / "page"
FILES = {
    "/": ("index.html", "text/html"),
    "/explore.js": ("explore.js", "text/javascript"),
    "/explore.css": ("explore.css", "text/css"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; img-src 'self'; script-src 'self'; "
    "style-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
QUERY = ("group", "country", "row", "dataset", "answer", "object")


def make_app(run: FinishedRun) -> Starlette:
    """Build the application that shows a run.

    Requests must name this machine in their Host header, so that no other site can reach the page
    under a name of its own, and no response allows another origin to read it.
    """
    explorer = Explorer(run)
    routes = [Route(path, _file(*file)) for path, file in FILES.items()]
    routes += [
        Route("/api/run", explorer.describe),
        Route("/api/images", explorer.images),
        Route("/api/images/{n:int}", explorer.image),
        Route("/api/images/{n:int}/segments", explorer.segments),
        Route("/pictures/{n:int}", explorer.picture),
        Route("/scores/{n:int}", explorer.score),
        Route("/relevance/{n:int}", explorer.relevance),
    ]
    handlers = {Refused: _refused, GeolocError: _failed, HTTPException: _not_found}
    hosts = Middleware(TrustedHostMiddleware, allowed_hosts=HOSTS, www_redirect=False)
    return Starlette(
        routes=routes,
        middleware=[Middleware(SafeHeaders), hosts],
        exception_handlers=handlers,
    )


class SafeHeaders:
    """Adds `HEADERS` to every response."""

    def __init__(self, app: Callable) -> None:
        self._app = app

    async def __call__(self, scope: dict, receive: Callable, send: Callable) -> None:
        async def send_with_headers(message: dict) -> None:
            if message["type"] == "http.response.start":
                own = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
                message["headers"] = [*message.get("headers", []), *own]
            await send(message)

        await self._app(scope, receive, send_with_headers)


def _file(name: str, kind: str) -> Callable[[Request], Response]:
    content = (PAGE / name).read_bytes()

    def respond(request: Request) -> Response:
        return Response(content, media_type=kind, headers={"Cache-Control": "no-cache"})

    return respond


def _refused(request: Request, error: Refused) -> Response:
    return JSONResponse({"error": str(error)}, error.status)


def _failed(request: Request, error: GeolocError) -> Response:
    log.warning("%s", error)
    return JSONResponse({"error": str(error)}, 500)


def _not_found(request: Request, error: HTTPException) -> Response:
    return JSONResponse({"error": error.detail}, error.status_code)


def _picture(data: bytes, kind: str) -> Response:
    return Response(data, media_type=kind, headers={"Cache-Control": "private, max-age=3600"})


class Explorer:
    """Responses about a run. They run in threads, and share no state but bounded caches.

    Args:
        run: the run.
    """

    def __init__(self, run: FinishedRun) -> None:
        self._run, self._pictures = run, Pictures(run)
        self._details = Details(run, self._pictures)
        self._relevance = Relevance(run, self._pictures)
        self._first = next(iter(self._pictures.views), "")

    def describe(self, request: Request) -> Response:
        """Return what can be chosen."""
        run, images = self._run, self._run.images
        used = sorted(set(images.names["country"]), key=display_name)
        return JSONResponse({
            "run": run.folder.name,
            "images": len(images),
            "page_size": PAGE_SIZE,
            "groups": [
                {"key": key, "title": self._group_title(key), "images": count}
                for key, count in images.groups.items()
            ],
            "countries": [{"key": code, "title": display_name(code)} for code in used],
            "rows": [{"key": key, "title": title} for key, title in run.row_titles.items()],
            "datasets": [
                {"key": name, "title": run.dataset_titles[name]} for name in self._pictures.views
            ],
            "scores": run.scores,
            "objects": [
                {"key": key, "scores": key.partition("/")[0], "title": each.name,
                 "selected": each.selected, "images": each.images}
                for key, each in run.objects.items()
            ],
        })  # fmt: skip

    def _group_title(self, key: str) -> str:
        collection, _, split = key.partition("/")
        if collection == STREET:
            return {
                "test": "Street images: test",
                "val": "Street images: validation",
                "train": "Street images: training",
            }.get(split, key)
        return self._run.test_set_titles.get(collection, collection)

    def _query(self, parameters: Mapping[str, str]) -> Query:
        run, groups = self._run, self._run.images.groups
        return Query(
            group=choose(parameters, "group", groups, next(iter(groups), "")),
            country=choose(parameters, "country", run.images.names["country"], ""),
            row=choose(parameters, "row", run.rows, ""),
            dataset=choose(parameters, "dataset", self._pictures.views, self._first),
            answer=choose(parameters, "answer", ANSWERS, "all"),
            object=choose(parameters, "object", run.objects, ""),
        )

    def images(self, request: Request) -> Response:
        """Return a page of images."""
        parameters = request.query_params
        refuse_others(parameters, *QUERY, "page")
        query, page = self._query(parameters), whole_number(parameters, "page")
        chosen = self._run.select(query)
        pages = max(1, -(-len(chosen) // PAGE_SIZE))
        if page >= pages:
            raise Refused(404, f"page {page}: there are {pages} pages, counted from 0")
        shown = chosen[page * PAGE_SIZE : (page + 1) * PAGE_SIZE].tolist()
        test_set = self._run.test_set(query.group, query.dataset)
        answers = self._run.answers(query.row, test_set) if query.row and test_set else None
        return JSONResponse(
            {
                "total": len(chosen),
                "page": page,
                "pages": pages,
                "tested": answers is not None,
                "images": [self._card(n, answers) for n in shown],
            }
        )

    def _card(self, n: int, answers: Any) -> dict[str, Any]:
        images = self._run.images
        card = {"n": n, "country_name": display_name(images.value("country", n))}
        if answers is not None and answers.right[n] >= 0:
            code = answers.country[n]
            name = display_name(images.names["country"][code]) if code >= 0 else "another country"
            card |= {
                "answer": name,
                "probability": float(answers.probability[n]),
                "right": bool(answers.right[n]),
            }
        return card

    def image(self, request: Request) -> Response:
        """Return facts about one image, and a row's answers."""
        refuse_others(request.query_params, "row")
        row = choose(request.query_params, "row", self._run.rows, "")
        n = request.path_params["n"]
        found = self._details.image(n, row)
        return JSONResponse(found | {"explained": self._relevance.methods(n, row)})

    def segments(self, request: Request) -> Response:
        """Return the segments of one image."""
        n = request.path_params["n"]
        return JSONResponse(self._details.segments(n, self._scores(request)))

    def _scores(self, request: Request) -> str:
        refuse_others(request.query_params, "scores")
        scores = choose(request.query_params, "scores", self._run.scores, "")
        if not scores:
            raise Refused(400, "scores: name the score maps")
        return scores

    def picture(self, request: Request) -> Response:
        """Return one image as a dataset shows it, small with `size=small`."""
        parameters, n = request.query_params, request.path_params["n"]
        refuse_others(parameters, "dataset", "size")
        dataset = choose(parameters, "dataset", self._pictures.views, self._first)
        small = choose(parameters, "size", ["small"], "") == "small"
        self._run.images.id_of(n)
        make = self._pictures.thumbnail if small else self._pictures.picture
        return _picture(make(n, dataset), "image/jpeg")

    def score(self, request: Request) -> Response:
        """Return the score map of one image."""
        n = request.path_params["n"]
        return _picture(self._pictures.score_picture(n, self._scores(request)), "image/png")

    def relevance(self, request: Request) -> Response:
        """Return what a row's answer to one image rests on, by one method."""
        parameters, n = request.query_params, request.path_params["n"]
        refuse_others(parameters, "row", "method")
        row = choose(parameters, "row", self._run.rows, "")
        method = parameters.get("method", "")
        return _picture(self._relevance.picture(n, row, method), "image/png")

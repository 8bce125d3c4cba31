"""Call the page as its own script does, without a browser: upload files, press a button."""

import json
import mimetypes
import secrets
from pathlib import Path
from typing import Any, NamedTuple

API = "/gradio_api"
ANSWER_S = 600.0  # a first call compiles programs


class Answer(NamedTuple):
    """What a button gave.

    Attributes:
        values: of the event's outputs, in their order; empty where it was refused.
        line: of the error that the page shows; "" where there is none.
    """

    values: list[Any]
    line: str


class PageCalls:
    """One user of a page.

    The fields of an event are named by the `elem_id` of their components; those that have none keep
    the values with which the page opens.
    """

    def __init__(self, url: str):
        """Read the page's components and events."""
        import httpx  # comes with the extra `ui`

        self._http = httpx.Client(base_url=url, timeout=ANSWER_S)
        config = self._http.get("/config").raise_for_status().json()
        self._parts = {one["id"]: one["props"] for one in config["components"]}
        self._events = config["dependencies"]
        self._session = secrets.token_hex(5)

    def __enter__(self) -> "PageCalls":
        """Itself."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Close the connection."""
        self._http.close()

    def upload(self, *paths: Path, names: tuple[str, ...] = ()) -> list[dict[str, Any]]:
        """Send files; returns what a field of files holds then. `names` are the user's names."""
        shown = names or tuple(path.name for path in paths)
        files = [
            ("files", (name, path.read_bytes(), mimetypes.guess_type(name)[0]))
            for name, path in zip(shown, paths, strict=True)
        ]
        sent = self._http.post(f"{API}/upload", files=files).raise_for_status().json()
        return [
            {"path": path, "orig_name": name, "meta": {"_type": "gradio.FileData"}}
            for path, name in zip(sent, shown, strict=True)
        ]

    def press(self, button: str, fields: dict[str, Any]) -> Answer:
        """Press a button; returns the answer of the event itself, not of those that follow it.

        Args:
            button: its `elem_id`.
            fields: values by the `elem_id` of their component.
        """
        event = next(
            one
            for one in self._events
            if any(self._parts[id_].get("elem_id") == button for id_, _ in one["targets"] if id_)
        )
        inputs = [self._parts[id_] for id_ in event["inputs"]]
        unknown = fields.keys() - {one.get("elem_id") for one in inputs}
        assert not unknown, f"{button} has no fields {unknown}"
        data = [fields.get(one.get("elem_id"), one.get("value")) for one in inputs]
        call = {"data": data, "fn_index": event["id"], "session_hash": self._session}
        self._http.post(f"{API}/queue/join", json=call).raise_for_status()
        return self._answer()

    def _answer(self) -> Answer:
        query = {"session_hash": self._session}
        with self._http.stream("GET", f"{API}/queue/data", params=query) as stream:
            for row in stream.iter_lines():
                said = json.loads(row.removeprefix("data:")) if row.startswith("data:") else {}
                if said.get("msg") == "process_completed":
                    output = said["output"]
                    return Answer(output.get("data") or [], output.get("error") or "")
        raise RuntimeError("the page ends the connection without an answer")

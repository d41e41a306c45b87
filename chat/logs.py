"""Log records as JSON, one object a line, for what collects the logs of many processes."""

from __future__ import annotations

from typing import Any

from pythonjsonlogger.orjson import OrjsonFormatter

from chat.telemetry import Fields

KEPT = frozenset({"timestamp", "level", "logger", "message", "process", "exc_info", "event", *Fields.__annotations__})


class JsonLine(OrjsonFormatter):
    """For ``LOGGING``: ``{"()": "chat.logs.JsonLine"}``. Time, level, logger, text, process and traceback, and of what
    was added to a record the event and its fields alone: what others add may hold what somebody said, as the request
    does that Django adds, in its query string.
    """

    def __init__(self) -> None:
        renamed = {"levelname": "level", "name": "logger"}
        super().__init__("levelname,name,message,process", style=",", rename_fields=renamed, timestamp=True)

    def process_log_record(self, log_data: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in log_data.items() if name in KEPT}

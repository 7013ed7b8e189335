"""What the daemon shows of itself over HTTP: health, metrics, status. `serve` is all that the outside needs."""

from harvester.web.metrics import Metrics
from harvester.web.server import WebServer, serve

__all__ = ["Metrics", "WebServer", "serve"]

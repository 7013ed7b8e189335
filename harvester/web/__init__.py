"""The daemon's pages over HTTP: health, metrics, status. Other packages need `serve` alone."""

from harvester.web.metrics import Metrics
from harvester.web.server import WebServer, serve

__all__ = ["Metrics", "WebServer", "serve"]

"""Bounds of a network over whole regions of inputs: intervals and lines, and the certificates they give."""

from vauban.bounds.certificate import Certificate, certified_radius, certify
from vauban.bounds.exact import Decision, decide
from vauban.bounds.interval import Interval
from vauban.bounds.network import Network, network_of

__all__ = ["Certificate", "Decision", "Interval", "Network", "certified_radius", "certify", "decide", "network_of"]

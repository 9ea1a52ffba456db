"""The program that stands between SMS gateways and a business."""

__version__ = "0.2.0"

"""inplaced: changes Kubernetes pods in place instead of replacing them."""

__version__ = "0.1.0"

"""What deploy/ says to Kubernetes, Prometheus and Grafana, read by tools of theirs."""

"""What operators see and say: the admin API, metrics, logs, the access log, explain."""

"""Which endpoints take traffic: probes, gates, outliers and ejections."""

"""Isochrone: a traffic-routing edge gateway that sends each request to the PoP that will answer it soonest."""

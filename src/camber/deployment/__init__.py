"""Deployments: the one place that joins the parts, and the only one that picks a store."""

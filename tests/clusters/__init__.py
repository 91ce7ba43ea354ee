"""Clusters that run checks: processes of this machine."""

"""Compat: strategies written for vnpy, unchanged: their imports are turned into ours."""

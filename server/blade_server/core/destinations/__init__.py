"""Catalogs by name.

catalogs     their clients, open while somebody uses them
"""

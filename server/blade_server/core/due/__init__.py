"""Starts the runs that are due, on whichever server looks first."""

"""Rows become laws."""

"""Typed files for TypeScript front ends, written from an application's annotations."""

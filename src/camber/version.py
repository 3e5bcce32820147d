"""The version of Camber, as packages and `/version` tell it."""

VERSION = "0.1.0"

"""The commands: parse, call one flow, map errors to an exit status."""

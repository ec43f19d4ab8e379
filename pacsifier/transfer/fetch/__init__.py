"""From series to instances on disk, by C-MOVE or C-GET."""

"""From query rows to series, by C-FIND."""

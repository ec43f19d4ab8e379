"""The de-identification of one instance; knows no folders."""
